/* Where the HTTP server listens: "host:port" to a socket. libmicrohttpd could open it too, but
 * would not say why it failed, and takes connections from the first moment on. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "common/http_parts.h"

static bool is_port(const char *text) {
    size_t len = strlen(text);
    return len >= 1 && len <= 5 && strspn(text, "0123456789") == len &&
           strtoul(text, NULL, 10) <= UINT16_MAX;
}

bool http_split_address(char *address, const char **ret_host, const char **ret_port) {
    char *colon = strrchr(address, ':');
    if (!colon || !is_port(colon + 1))
        return false;
    *colon = '\0';
    char *host = address;
    size_t len = strlen(host);
    if (host[0] == '[') {
        if (len < 3 || host[len - 1] != ']')
            return false;
        host[len - 1] = '\0';
        host++;
    } else if (strchr(host, ':')) {
        return false; /* 2001:db8::1:80 could be read two ways */
    }
    if (strpbrk(host, "[]"))
        return false;
    *ret_host = !*host || strcmp(host, "*") == 0 ? NULL : host;
    *ret_port = colon + 1;
    return true;
}

static int open_socket(const struct addrinfo *at) {
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static uint16_t bound_port(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t len = sizeof(address);
    if (getsockname(fd, &address.any, &len) < 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

int http_bind(const char *address, uint16_t *ret_port) {
    _cleanup_(freep) char *copy = must_strdup(address);
    const char *host = NULL, *port = NULL;
    if (!http_split_address(copy, &host, &port))
        return -EINVAL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    if (!host)
        hints.ai_family = AF_INET;
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -EADDRNOTAVAIL;
    int fd = open_socket(found);
    freeaddrinfo(found);
    if (fd >= 0)
        *ret_port = bound_port(fd);
    return fd;
}

int http_listen(int fd) {
    return listen(fd, SOMAXCONN) < 0 ? -errno : 0;
}

int64_t http_silent_ms(int fd) {
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return INT64_MAX;
    return info.tcpi_last_data_recv;
}

void http_print_address(const struct sockaddr *address, char ret[static HTTP_ADDRESS_CAP]) {
    socklen_t len =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (getnameinfo(address, len, ret, HTTP_ADDRESS_CAP, NULL, 0, NI_NUMERICHOST) != 0)
        ret[0] = '\0';
}
