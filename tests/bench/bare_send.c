/* The point of reference for a fan-out: one send() of the same bytes to each of n sockets, and
 * nothing else. For each byte that comes on its wire it sends one round, in frames that look like
 * ws_fanout's. Usage: bare_send N TEXT_BYTES; prints its port, takes N sockets, then the wire,
 * whose end it waits for before it takes the next. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/sockets.h"

static int listen_somewhere(void) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        die("listening: %s", strerror(errno));
    printf("%u\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static int take_socket(int listener) {
    int on = 1, fd = accept(listener, NULL, NULL);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        die("accepting: %s", strerror(errno));
    return fd;
}

/* A frame with the members that a viewer looks at, and as long as the real ones. */
static void put_frame(struct buf *out, unsigned long version, size_t text_bytes) {
    _cleanup_(buf_done) struct buf text = BUF_NULL;
    buf_printf(&text, "{\"type\":\"state_delta\",\"version\":%lu,\"value\":%lu,\"filler\":\"",
               version, version);
    while (text.len + 2 < text_bytes)
        buf_putc(&text, 'x');
    buf_puts(&text, "\"}");
    buf_clear(out);
    buf_putc(out, (char)0x81);
    buf_putc(out, 126);
    buf_putc(out, (char)(text.len >> 8));
    buf_putc(out, (char)(text.len & 0xff));
    buf_put(out, text.data, text.len);
}

static void send_round(const int *fds, size_t n, const struct buf *frame) {
    for (size_t i = 0; i < n; i++)
        if (send(fds[i], frame->data, frame->len, MSG_NOSIGNAL | MSG_DONTWAIT) !=
            (ssize_t)frame->len)
            die("a socket takes no more");
}

int main(int argc, char **argv) {
    size_t n = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    size_t text_bytes = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (!n || text_bytes < 126 || text_bytes > 65535)
        die("usage: bare_send N TEXT_BYTES (126 to 65535)");
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    int listener = listen_somewhere();
    int *fds = must_alloc(n * sizeof(*fds));
    for (size_t i = 0; i < n; i++)
        fds[i] = take_socket(listener);
    struct buf frame = BUF_NULL;
    unsigned long version = 0;
    for (;;) {
        int wire = take_socket(listener);
        char bytes[256];
        for (ssize_t got; (got = read(wire, bytes, sizeof(bytes))) > 0;)
            for (; got > 0; got--) {
                put_frame(&frame, ++version, text_bytes);
                send_round(fds, n, &frame);
            }
        close(wire);
    }
}
