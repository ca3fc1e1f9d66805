/* Loaded before the C library, into the services of test_names.py: names that end in ".test" are
 * 127.0.0.1, and have no answer while the file SILENT_NAMES is there, as of a name server that is
 * silent; a process that has asked then leaves a file beside it, with its id behind the name. All
 * others are the C library's. */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int ends_in(const char *text, const char *end) {
    size_t len = strlen(text), n = strlen(end);
    return len >= n && strcmp(text + len - n, end) == 0;
}

static void leave_note(const char *silent) {
    char path[4096];
    snprintf(path, sizeof(path), "%s.%d", silent, (int)getpid());
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static void await_answer(void) {
    static const struct timespec a_while = {.tv_nsec = 20000000};
    const char *silent = getenv("SILENT_NAMES");
    if (!silent || access(silent, F_OK) != 0)
        return;
    leave_note(silent);
    while (access(silent, F_OK) == 0)
        nanosleep(&a_while, NULL);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (__typeof__(real))dlsym(RTLD_NEXT, "getaddrinfo");
    if (!host || !ends_in(host, ".test") || (hints && hints->ai_flags & AI_NUMERICHOST))
        return real(host, service, hints, ret);
    await_answer();
    return real("127.0.0.1", service, hints, ret);
}
