/* The crowd's side of handoff.v1; see crowd.h. */
#include "tests/bench/crowd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/bench/frames.h"
#include "tests/bench/samples.h"

#define RING 4096u /* versions whose bytes are remembered */
#define BUFFER_BYTES (256u << 10)

struct crowd_seen {
    uint64_t version;
    uint64_t value;
    size_t n_got;
    char *text; /* NUL-terminated */
    size_t len;
};

/* ---- sending ---- */

static void send_auth(struct viewer *v) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    buf_printf(&out, "{\"type\":\"auth\",\"token\":\"%s\"}", v->token);
    frame_send(&v->source, FRAME_TEXT, out.data, out.len);
    v->token = NULL;
}

static void send_upgrade(const struct viewer *v, const struct crowd_entry *e) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    buf_printf(&out, "GET /ws?session=%s", e->session_id);
    if (e->resumes)
        buf_printf(&out, "&since=%llu&epoch=1", (unsigned long long)e->since);
    buf_puts(&out, " HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                   "Sec-WebSocket-Protocol: handoff.v1\r\n");
    if (!e->by_message)
        buf_printf(&out, "Authorization: Bearer %s\r\n", e->token);
    buf_puts(&out, "\r\n");
    source_send(&v->source, out.data, out.len);
}

/* ---- what arrives ---- */

static void finish(struct viewer *v, enum viewer_state state) {
    v->state = state;
    v->crowd->n_done++;
    v->crowd->done(v->crowd, v);
}

static void refused(struct viewer *v, const char *why, size_t len) {
    struct crowd *c = v->crowd;
    if (v->state == VIEWER_SYNCED)
        die("a viewer was told %.*s", (int)len, why);
    if (!c->n_refused++)
        snprintf(c->refusal, sizeof(c->refusal), "%.*s", (int)len, why);
    sockets_close(c->sockets, &v->source);
    finish(v, VIEWER_REFUSED);
}

static bool is_same(const struct crowd_seen *seen, const struct frame *f) {
    return seen->len == f->len && memcmp(seen->text, f->payload, f->len) == 0;
}

static struct crowd_seen *remember(struct crowd *c, const struct frame *f, uint64_t version) {
    struct crowd_seen *seen = &c->ring[version % RING];
    if (seen->version == version) {
        if (!is_same(seen, f))
            die("version %llu has two texts", (unsigned long long)version);
        return seen;
    }
    if (seen->version && seen->n_got < c->n)
        die("a viewer is over %u versions behind", RING);
    free(seen->text);
    *seen = (struct crowd_seen){.version = version,
                                .value = frame_number(f, "\"value\":"),
                                .text = must_memdup(f->payload, f->len),
                                .len = f->len};
    return seen;
}

static void count(struct crowd *c, struct crowd_seen *seen) {
    if (++seen->n_got == c->n && c->all_have)
        c->all_have(c, seen->value);
}

/* The version of a delta. Of one that all watch: read off once, then known by its bytes. */
static uint64_t take_version(struct viewer *v, const struct frame *f) {
    struct crowd *c = v->crowd;
    if (!c->is_shared)
        return frame_number(f, "\"version\":");
    struct crowd_seen *seen = &c->ring[(v->version + 1) % RING];
    if (seen->version != v->version + 1 || !is_same(seen, f))
        seen = remember(c, f, frame_number(f, "\"version\":"));
    uint64_t version = seen->version;
    count(c, seen);
    return version;
}

static void take_delta(struct viewer *v, const struct frame *f) {
    struct crowd *c = v->crowd;
    c->n_deliveries++;
    c->n_bytes += f->len;
    uint64_t version = take_version(v, f);
    if (version != v->version + 1)
        c->n_missing += version > v->version ? version - v->version - 1 : 1;
    v->version = version;
    if (v->state != VIEWER_WAITING)
        return;
    c->n_replayed++;
    if (v->until_version && v->version >= v->until_version)
        finish(v, VIEWER_SYNCED);
}

static void take_subscribed(struct viewer *v, const struct frame *f) {
    v->until_version = frame_number(f, "\"version\":");
    if (v->version >= v->until_version)
        finish(v, VIEWER_SYNCED);
}

static void take_sync(struct viewer *v, const struct frame *f) {
    if (v->state != VIEWER_WAITING || v->version)
        v->crowd->n_syncs++;
    v->version = frame_number(f, "\"version\":");
    if (v->state == VIEWER_WAITING)
        finish(v, VIEWER_SYNCED);
}

static void take_text(struct viewer *v, const struct frame *f) {
    if (frame_find(f, "\"type\":\"state_delta\""))
        take_delta(v, f);
    else if (frame_find(f, "\"type\":\"state_sync\""))
        take_sync(v, f);
    else if (frame_find(f, "\"type\":\"subscribed\""))
        take_subscribed(v, f);
    else if (frame_find(f, "\"type\":\"error\"") || frame_find(f, "\"type\":\"unsubscribed\""))
        refused(v, f->payload, f->len);
}

static void take_frame(struct viewer *v, const struct frame *f) {
    if (f->first == FRAME_TEXT)
        take_text(v, f);
    else if (f->first == FRAME_PING)
        frame_send(&v->source, FRAME_PONG, f->payload, f->len);
    else if (f->first != FRAME_PONG && v->state != VIEWER_REFUSED)
        die("a frame that begins with %02x: %.*s", f->first, (int)f->len, f->payload);
}

/* How much of it is the HTTP answer; 0 while that is not whole, or when it is no 101. */
static size_t take_upgrade(struct viewer *v, const char *bytes, size_t len) {
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (strncmp(bytes, "HTTP/1.1 101", 12) != 0) {
        refused(v, bytes, len);
        return 0;
    }
    v->state = VIEWER_WAITING;
    if (v->token)
        send_auth(v);
    if (v->is_foreign)
        finish(v, VIEWER_SYNCED);
    return (size_t)(end - bytes) + 4;
}

/* Takes whole messages and keeps the rest. */
static void take(struct viewer *v, const char *bytes, size_t len) {
    size_t from = 0;
    struct frame f;
    if (v->state == VIEWER_UPGRADING)
        from = take_upgrade(v, bytes, len);
    while (v->state != VIEWER_UPGRADING && v->state != VIEWER_REFUSED &&
           frame_next(bytes + from, len - from, &f)) {
        take_frame(v, &f);
        from += f.whole;
    }
    free(v->rest);
    v->n_rest = len - from;
    v->rest = v->n_rest ? must_memdup(bytes + from, v->n_rest) : NULL;
}

/* Returns whether there may be more: a read that fills less than the buffer has emptied the socket.
 */
static bool read_some(struct viewer *v) {
    static char buffer[BUFFER_BYTES];
    if (v->n_rest == sizeof(buffer))
        die("a frame of over %u bytes", BUFFER_BYTES);
    if (v->n_rest)
        memcpy(buffer, v->rest, v->n_rest);
    size_t room = sizeof(buffer) - v->n_rest;
    ssize_t n = recv(v->source.fd, buffer + v->n_rest, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return errno == EINTR;
    if (n > 0)
        take(v, buffer, v->n_rest + (size_t)n);
    else if (v->state == VIEWER_SYNCED)
        die("the server ended a viewer: %s", n ? strerror(errno) : "closed");
    else
        refused(v, "closed", 6);
    return (size_t)n == room && v->state != VIEWER_REFUSED;
}

static void on_readable(struct source *s) {
    while (read_some((struct viewer *)s))
        continue;
}

/* ---- the crowd ---- */

void crowd_init(struct crowd *c, struct sockets *sockets, uint16_t port, size_t n, bool is_shared) {
    *c = (struct crowd){.sockets = sockets, .port = port, .n = n, .is_shared = is_shared};
    c->viewers = must_alloc(n * sizeof(*c->viewers));
    c->ring = must_alloc(RING * sizeof(*c->ring));
}

void crowd_done(struct crowd *c) {
    if (!c->viewers)
        return;
    for (size_t i = 0; i < c->n_open; i++) {
        if (c->viewers[i].state != VIEWER_REFUSED)
            sockets_close(c->sockets, &c->viewers[i].source);
        free(c->viewers[i].rest);
    }
    for (size_t i = 0; i < RING; i++)
        free(c->ring[i].text);
    free(c->viewers);
    free(c->ring);
    *c = (struct crowd){0};
}

void crowd_connect(struct crowd *c, const struct crowd_entry *e) {
    struct viewer *v = &c->viewers[c->n_open];
    *v = (struct viewer){.crowd = c, .session = e->session, .since_ns = now_ns()};
    v->is_foreign = e->is_foreign;
    if (e->resumes || e->is_foreign)
        v->version = e->since;
    sockets_connect_from(c->sockets, &v->source, (unsigned)c->n_open, c->port, on_readable);
    c->n_open++;
    if (e->is_bare) {
        finish(v, VIEWER_SYNCED);
        return;
    }
    if (e->by_message)
        v->token = e->token;
    send_upgrade(v, e);
}
