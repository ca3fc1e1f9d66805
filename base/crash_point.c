#include "base/crash_point.h"

#ifdef HANDOFF_CRASH_POINTS
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

#define MAX_FDS 1024

/* Of a URL's first address; 0 without one. */
static int port_of(const char *url) {
    const char *address = url ? strrchr(url, '@') : NULL;
    const char *colon = address ? strchr(address, ':') : NULL;
    return colon ? (int)strtol(colon + 1, NULL, 10) : 0;
}

static void shut_down(int port) {
    for (int fd = 0; fd < MAX_FDS; fd++) {
        struct sockaddr_in peer;
        socklen_t len = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET &&
            ntohs(peer.sin_port) == port)
            shutdown(fd, SHUT_RDWR);
    }
}

bool crash_point_cut(const char *name, const char *url_variable) {
    bool fails = crash_point(name);
    if (fails)
        shut_down(port_of(getenv(url_variable)));
    return fails;
}
#else
typedef int crash_point_is_absent; /* a file may not be empty */
#endif
