/* See http_probe.h. Blocking, as the process does nothing else. */
#include "common/http_probe.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/http_parts.h"

#define WAIT_S 2
#define ADDRESS_MAX 300

static const char *loopback_of(const char *host) {
    return !host || strcmp(host, "0.0.0.0") == 0 ? "127.0.0.1"
           : strcmp(host, "::") == 0             ? "::1"
                                                 : host;
}

static int connect_to(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    if (getaddrinfo(loopback_of(host), port, &hints, &found) != 0)
        return -EADDRNOTAVAIL;
    int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0), err = 0;
    const struct timeval wait = {.tv_sec = WAIT_S};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
        connect(fd, found->ai_addr, found->ai_addrlen) < 0)
        err = errno;
    freeaddrinfo(found);
    if (err && fd >= 0)
        close(fd);
    return err ? -err : fd;
}

/* The status line is in the first bytes. */
static int ask(int fd) {
    static const char request[] =
        "GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char answer[16];
    size_t len = 0;
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
        return -errno;
    while (len < sizeof(answer) - 1) {
        ssize_t n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    answer[len] = '\0';
    if (strncmp(answer, "HTTP/1.1 ", 9) != 0)
        return -EPROTO;
    return strncmp(answer + 9, "200 ", 4) == 0   ? 0
           : strncmp(answer + 9, "503 ", 4) == 0 ? -EAGAIN
                                                 : -EPROTO;
}

int http_probe(const char *admin_listen) {
    char text[ADDRESS_MAX];
    const char *host = NULL, *port = NULL;
    if (strlen(admin_listen) >= sizeof(text))
        return -ENAMETOOLONG;
    memcpy(text, admin_listen, strlen(admin_listen) + 1);
    if (!http_split_address(text, &host, &port))
        return -EINVAL;
    int fd = connect_to(host, port);
    if (fd < 0)
        return fd;
    int r = ask(fd);
    close(fd);
    return r;
}
