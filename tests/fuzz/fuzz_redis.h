/* For the fuzz targets of what Redis answers. */
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/store_private.h"
#include "fuzz_json.h"

/* hiredis makes room for as many elements as an array claims to have, before they come. */
static inline bool fuzz_is_modest(const uint8_t *data, size_t size) {
    for (size_t i = 0, n_digits = 0; i < size; i++) {
        bool is_count = n_digits > 0 || (i > 0 && data[i - 1] == '*');
        n_digits = is_count && data[i] >= '0' && data[i] <= '9' ? n_digits + 1 : 0;
        if (n_digits > 4)
            return false;
    }
    return true;
}

#define FUZZ_MAX_PEERS 64
static int fuzz_peers[FUZZ_MAX_PEERS]; /* the other ends: open, so that what is sent can be */
static size_t fuzz_n_peers;

static inline void fuzz_close_peers(void) {
    while (fuzz_n_peers)
        close(fuzz_peers[--fuzz_n_peers]);
}

/* What was sent is taken, so that there is room for more. */
static inline void fuzz_drain_peers(void) {
    char room[4096];
    for (size_t i = 0; i < fuzz_n_peers; i++)
        while (recv(fuzz_peers[i], room, sizeof(room), MSG_DONTWAIT) > 0)
            ;
}

/* A connection without blocking, and its other end, on which nothing was said yet. NULL: there are
 * many already. */
static inline redisContext *fuzz_open_context(int *ret_peer) {
    int fds[2], room = 1 << 20;
    if (fuzz_n_peers == FUZZ_MAX_PEERS)
        return NULL;
    must_hold(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    (void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    redisContext *c = redisConnectFd(fds[0]);
    must_hold(c != NULL);
    c->flags &= ~REDIS_BLOCK;
    must_hold(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    fuzz_peers[fuzz_n_peers++] = *ret_peer = fds[1];
    return c;
}

/* One on which these bytes have come, and nothing after them. */
static inline redisContext *fuzz_context(const char *bytes, size_t n_bytes) {
    int peer = -1;
    redisContext *c = fuzz_open_context(&peer);
    if (!c)
        return NULL;
    must_hold(n_bytes == 0 || write(peer, bytes, n_bytes) == (ssize_t)n_bytes);
    must_hold(shutdown(peer, SHUT_WR) == 0);
    return c;
}
