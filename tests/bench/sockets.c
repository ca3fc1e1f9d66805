/* epoll and the reading and writing of sockets; see sockets.h. */
#include "tests/bench/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/samples.h"

#define MOST_BYTES (4u << 20) /* of one answer or frame */
#define READ_BYTES 16384u
#define N_EVENTS 512
#define SEND_PATIENCE_MS 10000
#define NARROW_SEGMENT 1400 /* Ethernet's; with loopback's 64 KiB a window is never small */
#define NARROW_WINDOW 4096

_Noreturn void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void sockets_init(struct sockets *all) {
    all->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (all->epoll_fd < 0)
        die("epoll: %s", strerror(errno));
}

void sockets_done(struct sockets *all) {
    close(all->epoll_fd);
}

static void add(struct sockets *all, struct source *s, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = s};
    if (epoll_ctl(all->epoll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0)
        die("epoll: %s", strerror(errno));
}

void sockets_add(struct sockets *all, struct source *s) {
    add(all, s, EPOLLIN);
}

/* One address of loopback has ports for some 28 000 connections a minute: here are 200 more. The
 * port is chosen at connect, where it need only be free towards that one server. */
static void bind_to_own_address(const struct source *s, unsigned which) {
    int on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (1u << 8) + which % 200);
    if (s->fd >= 0 &&
        (setsockopt(s->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
         bind(s->fd, (struct sockaddr *)&from, sizeof(from)) < 0))
        die("binding to an address of loopback: %s", strerror(errno));
}

static void connect_to(struct sockets *all, struct source *s, uint16_t port, uint32_t events) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        die("connecting to port %u: %s", port, strerror(errno));
    int on = 1;
    if (setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        fcntl(s->fd, F_SETFL, O_NONBLOCK) < 0)
        die("preparing a socket: %s", strerror(errno));
    add(all, s, events);
}

static void open_socket(struct source *s, void (*readable)(struct source *s)) {
    s->readable = readable;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

void sockets_connect(struct sockets *all, struct source *s, uint16_t port,
                     void (*readable)(struct source *s)) {
    open_socket(s, readable);
    connect_to(all, s, port, EPOLLIN);
}

void sockets_connect_from(struct sockets *all, struct source *s, unsigned which, uint16_t port,
                          void (*readable)(struct source *s)) {
    open_socket(s, readable);
    bind_to_own_address(s, which);
    connect_to(all, s, port, EPOLLIN | EPOLLET);
}

void sockets_connect_narrow(struct sockets *all, struct source *s, unsigned which, uint16_t port,
                            void (*readable)(struct source *s)) {
    int segment = NARROW_SEGMENT, window = NARROW_WINDOW;
    open_socket(s, readable);
    bind_to_own_address(s, which);
    if (setsockopt(s->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment)) < 0 ||
        setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window)) < 0)
        die("narrowing a socket: %s", strerror(errno));
    connect_to(all, s, port, EPOLLIN | EPOLLET);
}

void sockets_close(struct sockets *all, struct source *s) {
    epoll_ctl(all->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    close(s->fd);
    s->fd = -1;
}

void sockets_wait(struct sockets *all, uint64_t until_ns) {
    struct epoll_event events[N_EVENTS];
    uint64_t now = now_ns();
    uint64_t left = until_ns > now ? until_ns - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(left / 1000000000u),
                               .tv_nsec = (long)(left % 1000000000u)};
    /* epoll_wait counts in milliseconds: too coarse for an open loop. */
    int n = epoll_pwait2(all->epoll_fd, events, N_EVENTS, until_ns == UINT64_MAX ? NULL : &timeout,
                         NULL);
    if (n < 0 && errno != EINTR)
        die("epoll: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct source *s = events[i].data.ptr;
        s->readable(s);
    }
}

void source_receive(const struct source *s, struct buf *in) {
    if (in->len > MOST_BYTES)
        die("a message of over %u bytes", MOST_BYTES);
    buf_reserve(in, READ_BYTES);
    ssize_t n = recv(s->fd, in->data + in->len, READ_BYTES, 0);
    if (n == 0)
        die("the server closed a connection");
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        die("receiving: %s", strerror(errno));
    if (n > 0)
        in->len += (size_t)n;
    in->data[in->len] = '\0';
}

void source_send(const struct source *s, const void *data, size_t len) {
    for (const char *rest = data; len > 0;) {
        ssize_t n = send(s->fd, rest, len, MSG_NOSIGNAL);
        struct pollfd room = {.fd = s->fd, .events = POLLOUT};
        if (n < 0 && (errno != EAGAIN || poll(&room, 1, SEND_PATIENCE_MS) != 1))
            die("sending: %s", errno == EAGAIN ? "the socket stays full" : strerror(errno));
        rest += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

void buf_drop(struct buf *b, size_t n) {
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = '\0';
}
