/* A WebSocket client of just what Handoff's server sends: whole text frames, pings, closes; see
 * watcher.h. Frames are searched, not parsed: this client runs on the cores that it measures. */
#include "tests/bench/watcher.h"

#include <string.h>

#define OPCODE_TEXT 0x1
#define OPCODE_PING 0x9
#define OPCODE_PONG 0xa
#define FINAL 0x80

struct frame {
    unsigned first; /* the byte with FIN and the opcode */
    const char *payload;
    size_t len;
    size_t whole; /* with its header */
};

/* The number behind `"name":`. */
static uint64_t number_of(const struct frame *f, const char *name) {
    const char *at = memmem(f->payload, f->len, name, strlen(name));
    if (!at)
        die("a frame without %s: %.*s", name, (int)f->len, f->payload);
    return strtoull(at + strlen(name), NULL, 10);
}

static bool has_type(const struct frame *f, const char *type) {
    return memmem(f->payload, f->len, type, strlen(type)) != NULL;
}

static void take_versioned(struct watcher *w, const struct frame *f, enum watcher_what what) {
    struct watcher_event event = {.what = what, .version = number_of(f, "\"version\":")};
    if (event.version != w->version + 1)
        w->n_missing += event.version > w->version ? event.version - w->version - 1 : 1;
    w->version = event.version;
    if (what == WATCHER_DELTA)
        event.value = number_of(f, "\"value\":");
    w->changed(w, &event);
}

static void take_text(struct watcher *w, const struct frame *f) {
    if (has_type(f, "\"type\":\"state_delta\"")) {
        take_versioned(w, f, WATCHER_DELTA);
    } else if (has_type(f, "\"type\":\"clock_switched\"")) {
        take_versioned(w, f, WATCHER_SWITCHED);
    } else if (has_type(f, "\"type\":\"clock_expired\"")) {
        take_versioned(w, f, WATCHER_EXPIRED);
    } else if (has_type(f, "\"type\":\"status_changed\"")) {
        take_versioned(w, f, WATCHER_STATUS);
    } else if (has_type(f, "\"type\":\"state_sync\"")) {
        w->n_syncs += w->is_subscribed;
        w->is_subscribed = true;
        w->version = number_of(f, "\"version\":");
    } else if (has_type(f, "\"type\":\"error\"") || has_type(f, "\"type\":\"unsubscribed\"")) {
        die("the server said %.*s", (int)f->len, f->payload);
    }
}

/* With a mask of zeros, which leaves the bytes as they are. */
static void answer_ping(const struct watcher *w, const struct frame *f) {
    unsigned char pong[6 + 125] = {FINAL | OPCODE_PONG, (unsigned char)(0x80 | f->len)};
    memcpy(pong + 6, f->payload, f->len);
    source_send(&w->source, pong, 6 + f->len);
}

static bool next_frame(const struct buf *in, size_t from, struct frame *ret) {
    const unsigned char *p = (const unsigned char *)in->data + from;
    size_t left = in->len - from;
    if (left < 2)
        return false;
    size_t header = 2, len = p[1];
    if (len >= 126) {
        size_t n_bytes = len == 126 ? 2 : 8;
        header += n_bytes;
        if (left < header)
            return false;
        len = 0;
        for (size_t i = 0; i < n_bytes; i++)
            len = len << 8 | p[2 + i];
    }
    if (left < header || left - header < len)
        return false;
    *ret = (struct frame){p[0], in->data + from + header, len, header + len};
    return true;
}

static void take_frame(struct watcher *w, const struct frame *f) {
    if (f->first == (FINAL | OPCODE_TEXT))
        take_text(w, f);
    else if (f->first == (FINAL | OPCODE_PING))
        answer_ping(w, f);
    else if (f->first != (FINAL | OPCODE_PONG))
        die("a frame that begins with %02x: %.*s", f->first, (int)f->len, f->payload);
}

/* Where the frames begin: behind the 101. */
static bool take_upgrade(struct watcher *w) {
    const char *end = w->in.len ? memmem(w->in.data, w->in.len, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    if (strncmp(w->in.data, "HTTP/1.1 101", 12) != 0)
        die("no upgrade: %.200s", w->in.data);
    buf_drop(&w->in, (size_t)(end - w->in.data) + 4);
    w->is_upgraded = true;
    return true;
}

static void on_readable(struct source *s) {
    struct watcher *w = (struct watcher *)s;
    source_receive(s, &w->in);
    if (!w->is_upgraded && !take_upgrade(w))
        return;
    struct frame f;
    size_t from = 0;
    for (; next_frame(&w->in, from, &f); from += f.whole)
        take_frame(w, &f);
    buf_drop(&w->in, from);
}

void watcher_open(struct watcher *w, struct sockets *all, uint16_t port, const char *session_id,
                  const char *token,
                  void (*changed)(struct watcher *w, const struct watcher_event *event),
                  void *arg) {
    *w = (struct watcher){.changed = changed, .arg = arg};
    sockets_connect(all, &w->source, port, on_readable);
    _cleanup_(buf_done) struct buf request = BUF_NULL;
    buf_printf(&request,
               "GET /ws?session=%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
               "Sec-WebSocket-Protocol: handoff.v1\r\nAuthorization: Bearer %s\r\n\r\n",
               session_id, port, token);
    source_send(&w->source, request.data, request.len);
}

void watcher_close(struct watcher *w, struct sockets *all) {
    sockets_close(all, &w->source);
    buf_done(&w->in);
}
