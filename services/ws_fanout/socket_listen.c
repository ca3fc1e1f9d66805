/* Where the server listens, and how many descriptors it may have. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/ws_fanout/socket_private.h"

/* host:port or [host]:port; *ret_host is the caller's. */
static int parse_listen(const char *listen, char **ret_host, int *ret_port) {
    const char *colon = strrchr(listen, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : 0;
    if (!colon || end == colon + 1 || *end || port < 1 || port > 65535)
        return -EINVAL;
    size_t n_host = (size_t)(colon - listen);
    bool bracketed = n_host > 2 && listen[0] == '[' && listen[n_host - 1] == ']';
    *ret_host = must_memdup(listen + bracketed, n_host - (bracketed ? 2 : 0));
    *ret_port = (int)port;
    return 0;
}

static int listen_at(const struct addrinfo *at) {
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int r = -errno;
    close(fd);
    return r;
}

int socket_listen(const char *address) {
    _cleanup_(freep) char *host = NULL;
    char service[8];
    int port = 0;
    int r = parse_listen(address, &host, &port);
    if (r)
        return r;
    snprintf(service, sizeof(service), "%d", port);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *at = NULL;
    if (getaddrinfo(*host ? host : "0.0.0.0", service, &hints, &at))
        return -EINVAL;
    r = listen_at(at);
    freeaddrinfo(at);
    return r;
}

unsigned socket_set_fd_limit(int64_t max_connections) {
    rlim_t wanted = (rlim_t)max_connections + SOCKET_N_SPARE_FDS;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    return (unsigned)limit.rlim_cur;
}
