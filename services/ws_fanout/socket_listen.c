/* Where the server listens, and how many descriptors it may have. */
#include <sys/resource.h>
#include <unistd.h>

#include "common/http_parts.h"
#include "services/ws_fanout/socket_private.h"

int socket_listen(const char *address) {
    uint16_t port = 0;
    int fd = http_bind(address, &port);
    int r = fd < 0 ? fd : http_listen(fd);
    if (r < 0 && fd >= 0)
        close(fd);
    return r < 0 ? r : fd;
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
