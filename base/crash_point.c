#include "base/crash_point.h"

#ifdef HANDOFF_CRASH_POINTS
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void tell(const char *name, const char *action) {
    dprintf(STDERR_FILENO, "{\"event\":\"crash_point\",\"point\":\"%s\",\"action\":\"%s\"}\n", name,
            action);
}

static void pause_all(void) {
    const char *text = getenv("CRASH_POINT_PAUSE_MS");
    long ms = text ? strtol(text, NULL, 10) : CRASH_POINT_PAUSE_MS;
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0)
        ;
}

bool crash_point(const char *name) {
    static bool is_spent;
    const char *chosen = getenv("CRASH_POINT");
    size_t len = strlen(name);
    if (!chosen || is_spent || strncmp(chosen, name, len) != 0 || chosen[len] != '=')
        return false;
    const char *action = chosen + len + 1;
    is_spent = true;
    tell(name, action);
    if (strcmp(action, "die") == 0)
        raise(SIGKILL);
    if (strcmp(action, "pause") == 0)
        pause_all();
    return strcmp(action, "fail") == 0;
}
#else
typedef int crash_point_is_absent; /* a file may not be empty */
#endif
