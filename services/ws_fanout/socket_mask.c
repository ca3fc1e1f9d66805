/* A client's frames have to be masked, and the server has to end a connection with one that is not
 * (RFC 6455, 5.1). libwebsockets 4.1 takes it, and does not say. But it reads by recv(), and the
 * one that is linked into the program goes before the C library's: so all that it reads is seen
 * here on its way, and the headers of the frames in it. No lws is asked or touched. */
#include <stdlib.h>
#include <sys/socket.h>

#include "services/ws_fanout/socket_private.h"

#define MASKED 0x80
#define LENGTH_BITS 0x7f
#define LENGTH_IN_2 126
#define LENGTH_IN_8 127
#define MASK_BYTES 4

/* One connection's bytes, by its descriptor: the request's head, then frames. */
struct incoming {
    struct socket *socket; /* NULL until it is open, and once it has ended */
    uint64_t n_payload;    /* bytes of the frame that are still to come */
    unsigned char header[14];
    uint8_t n_header;
    bool is_upgraded;  /* the head is over */
    bool is_line_over; /* in the head: the last line is */
    bool has_unmasked; /* a frame that is not masked came */
};

/* recv() is given nothing else to find them by. */
static struct incoming *incoming;
static size_t n_incoming;

void socket_mask_init(size_t n_descriptors) {
    socket_mask_done();
    incoming = must_alloc(n_descriptors * sizeof(*incoming)); /* what is not used takes no memory */
    n_incoming = n_descriptors;
}

void socket_mask_done(void) {
    free(incoming);
    incoming = NULL;
    n_incoming = 0;
}

static struct incoming *find(int fd) {
    return fd >= 0 && (size_t)fd < n_incoming ? &incoming[fd] : NULL;
}

void socket_mask_accepted(int fd) {
    struct incoming *i = find(fd);
    if (i)
        *i = (struct incoming){0};
}

bool socket_mask_opened(struct socket *s, int fd) {
    struct incoming *i = find(fd);
    s->fd = fd;
    if (i)
        i->socket = s;
    return !i || !i->has_unmasked;
}

void socket_mask_ended(struct socket *s) {
    struct incoming *i = find(s->fd);
    if (i && i->socket == s)
        i->socket = NULL;
}

/* A line's end behind a line's end is that of the head. */
static void take_head(struct incoming *i, unsigned char c) {
    if (c == '\n') {
        i->is_upgraded = i->is_line_over;
        i->is_line_over = true;
    } else if (c != '\r') {
        i->is_line_over = false;
    }
}

static size_t length_bytes(unsigned char second) {
    return (second & LENGTH_BITS) == LENGTH_IN_8   ? 8
           : (second & LENGTH_BITS) == LENGTH_IN_2 ? 2
                                                   : 0;
}

static uint64_t payload_length(const unsigned char *header) {
    size_t n = length_bytes(header[1]);
    uint64_t length = n ? 0 : header[1] & LENGTH_BITS;
    for (size_t i = 0; i < n; i++)
        length = length << 8 | header[2 + i];
    return length;
}

static void take_header(struct incoming *i, unsigned char c) {
    i->header[i->n_header++] = c;
    if (i->n_header < 2)
        return;
    if (!(i->header[1] & MASKED))
        i->has_unmasked = true;
    if (i->n_header < 2 + length_bytes(i->header[1]) + MASK_BYTES)
        return;
    i->n_payload = payload_length(i->header);
    i->n_header = 0;
}

/* How many of them are of the payload that is to come. */
static size_t take_payload(struct incoming *i, size_t len) {
    size_t n = i->n_payload < len ? (size_t)i->n_payload : len;
    i->n_payload -= n;
    return n;
}

static void take(struct incoming *i, const unsigned char *bytes, size_t len) {
    for (size_t at = take_payload(i, len); at < len && !i->has_unmasked;
         at += take_payload(i, len - at)) {
        if (i->is_upgraded)
            take_header(i, bytes[at++]);
        else
            take_head(i, bytes[at++]);
    }
}

/* ---- the C library's, for the whole program ---- */

ssize_t recv(int fd, void *bytes, size_t len, int flags) {
    ssize_t n = recvfrom(fd, bytes, len, flags, NULL, NULL);
    struct incoming *i = n > 0 && !(flags & MSG_PEEK) ? find(fd) : NULL;
    if (!i || i->has_unmasked)
        return n;
    take(i, bytes, (size_t)n);
    if (i->has_unmasked && i->socket)
        socket_fail(i->socket, LWS_CLOSE_STATUS_PROTOCOL_ERR);
    return n;
}
