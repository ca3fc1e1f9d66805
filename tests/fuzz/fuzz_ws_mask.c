/* What clients send over a WebSocket, as recv() of ws_fanout sees it pass. Input: how many bytes a
 * call takes, then the bytes. A client is told to go exactly when a frame of its own is not masked:
 * a second reading, of the whole, says the same. */
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz_json.h"
#include "services/ws_fanout/socket_private.h"

static size_t n_failed;

void socket_fail(struct socket *s, int code) {
    must_hold(s != NULL && code == LWS_CLOSE_STATUS_PROTOCOL_ERR);
    n_failed++;
}

/* Behind the empty line; NULL: the head does not end. A carriage return counts for nothing. */
static const uint8_t *skip_head(const uint8_t *at, const uint8_t *end) {
    for (bool is_over = false; at < end; at++) {
        if (*at == '\n' && is_over)
            return at + 1;
        if (*at != '\r')
            is_over = *at == '\n';
    }
    return NULL;
}

static bool has_unmasked(const uint8_t *at, const uint8_t *end) {
    at = skip_head(at, end);
    while (at && end - at >= 2) {
        size_t n_length = (at[1] & 127) == 127 ? 8 : (at[1] & 127) == 126 ? 2 : 0;
        uint64_t length = n_length ? 0 : at[1] & 127;
        if (!(at[1] & 128))
            return true;
        if ((size_t)(end - at) < 2 + n_length + 4)
            return false;
        for (size_t i = 0; i < n_length; i++)
            length = length << 8 | at[2 + i];
        at += 2 + n_length + 4;
        at += length < (uint64_t)(end - at) ? length : (uint64_t)(end - at);
    }
    return false;
}

static void receive(int fd, size_t size, size_t step) {
    char room[256];
    for (size_t got = 0; got < size;) {
        ssize_t n = recv(fd, room, step, MSG_DONTWAIT);
        must_hold(n > 0);
        got += (size_t)n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fds[2];
    struct socket socket = {0};
    if (size < 1 || size > 60000)
        return 0;
    size_t step = data[0] ? data[0] : 1;
    must_hold(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 && fds[0] < 1000);
    must_hold(write(fds[1], data + 1, size - 1) == (ssize_t)size - 1);
    n_failed = 0;
    socket_mask_init(1000);
    socket_mask_accepted(fds[0]);
    bool is_fine = socket_mask_opened(&socket, fds[0]);
    must_hold(is_fine);
    receive(fds[0], size - 1, step);
    must_hold(n_failed == has_unmasked(data + 1, data + size));
    is_fine = socket_mask_opened(&socket, fds[0]);
    must_hold(is_fine == !n_failed);
    socket_mask_ended(&socket);
    socket_mask_done();
    close(fds[0]);
    close(fds[1]);
    return 0;
}
