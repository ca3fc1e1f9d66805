/* Where the server listens, and how many descriptors it may have. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/ws_fanout/socket_private.h"

int socket_parse_listen(const char *listen, char **ret_host, int *ret_port) {
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

bool socket_is_any_host(const char *host) {
    return !*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

int socket_try_bind(char **host, int port) {
    char service[8], numeric[NI_MAXHOST];
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *at = NULL;
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(socket_is_any_host(*host) && !strchr(*host, ':') ? "0.0.0.0" : *host, service,
                    &hints, &at))
        return -EINVAL;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    int r = fd < 0 ? -errno : 0;
    if (!r && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
               bind(fd, at->ai_addr, at->ai_addrlen) < 0))
        r = -errno;
    if (fd >= 0)
        close(fd);
    if (!r && getnameinfo(at->ai_addr, at->ai_addrlen, numeric, sizeof(numeric), NULL, 0,
                          NI_NUMERICHOST) == 0) {
        free(*host);
        *host = must_strdup(numeric);
    }
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
