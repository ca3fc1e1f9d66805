/* A WebSocket client of just what Handoff's server sends: whole text frames, pings, closes; see
 * watcher.h. Frames are searched, not parsed: this client runs on the cores that it measures. */
#include "tests/bench/watcher.h"

#include <string.h>

#include "tests/bench/frames.h"

static void take_versioned(struct watcher *w, const struct frame *f, enum watcher_what what) {
    struct watcher_event event = {.what = what, .version = frame_number(f, "\"version\":")};
    if (event.version != w->version + 1)
        w->n_missing += event.version > w->version ? event.version - w->version - 1 : 1;
    w->version = event.version;
    if (what == WATCHER_DELTA)
        event.value = frame_number(f, "\"value\":");
    w->changed(w, &event);
}

static void take_text(struct watcher *w, const struct frame *f) {
    if (frame_find(f, "\"type\":\"state_delta\"")) {
        take_versioned(w, f, WATCHER_DELTA);
    } else if (frame_find(f, "\"type\":\"clock_switched\"")) {
        take_versioned(w, f, WATCHER_SWITCHED);
    } else if (frame_find(f, "\"type\":\"clock_expired\"")) {
        take_versioned(w, f, WATCHER_EXPIRED);
    } else if (frame_find(f, "\"type\":\"status_changed\"")) {
        take_versioned(w, f, WATCHER_STATUS);
    } else if (frame_find(f, "\"type\":\"state_sync\"")) {
        w->n_syncs += w->is_subscribed;
        w->is_subscribed = true;
        w->version = frame_number(f, "\"version\":");
    } else if (frame_find(f, "\"type\":\"error\"") || frame_find(f, "\"type\":\"unsubscribed\"")) {
        die("the server said %.*s", (int)f->len, f->payload);
    }
}

static void take_frame(struct watcher *w, const struct frame *f) {
    if (f->first == FRAME_TEXT)
        take_text(w, f);
    else if (f->first == FRAME_PING)
        frame_send(&w->source, FRAME_PONG, f->payload, f->len);
    else if (f->first != FRAME_PONG)
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
    for (; frame_next(w->in.data + from, w->in.len - from, &f); from += f.whole)
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
