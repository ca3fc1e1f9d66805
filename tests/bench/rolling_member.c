/* One device that watches and comes back; see rolling.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/random.h"
#include "tests/bench/frames.h"
#include "tests/bench/rolling.h"
#include "tests/bench/samples.h"

#define MS 1000000u
#define SECOND_NS 1000000000u
#define BACKOFF_MS 500 /* and as much again by chance: after no word of when */
#define GOING_AWAY 1001
#define READ_BYTES (64u << 10)

static void leave(struct member *m, uint64_t wait_ms) {
    struct rolling *r = m->rolling;
    uint64_t now = now_ns();
    if (m->state == MEMBER_THERE)
        r->n_there--;
    if (!r->counts.first_close_ns)
        r->counts.first_close_ns = now;
    sockets_close(&r->sockets, &m->source);
    buf_done(&m->in);
    m->state = MEMBER_AWAY;
    m->due_ns = now + wait_ms * MS;
}

static uint64_t backoff_ms(void) {
    uint8_t random[2];
    random_bytes(random, sizeof(random));
    return BACKOFF_MS + (random[0] * 256u + random[1]) % BACKOFF_MS;
}

static void arrive(struct member *m) {
    struct rolling *r = m->rolling;
    m->state = MEMBER_THERE;
    m->was_there = true;
    m->until_version = 0;
    r->n_there++;
    r->counts.last_there_ns = now_ns();
}

static void count_return(struct rolling *r, uint64_t now) {
    uint64_t second = r->counts.first_close_ns ? (now - r->counts.first_close_ns) / SECOND_NS : 0;
    r->counts.returns[second < ROLLING_SECONDS ? second : ROLLING_SECONDS - 1]++;
}

/* ---- what arrives ---- */

static void take_version(struct member *m, uint64_t version) {
    if (version != m->version + 1)
        m->rolling->counts.missing += version > m->version ? version - m->version - 1 : 1;
    m->version = version;
    m->rolling->counts.deliveries++;
    if (m->state == MEMBER_WAITING && m->until_version && version >= m->until_version)
        arrive(m);
}

static void take_text(struct member *m, const struct frame *f) {
    struct rolling_counts *counts = &m->rolling->counts;
    if (frame_find(f, "\"type\":\"state_delta\"")) {
        take_version(m, frame_number(f, "\"version\":"));
    } else if (frame_find(f, "\"type\":\"state_sync\"")) {
        counts->syncs += m->was_there;
        m->version = frame_number(f, "\"version\":");
        if (m->state == MEMBER_WAITING)
            arrive(m);
    } else if (frame_find(f, "\"type\":\"subscribed\"")) {
        m->until_version = frame_number(f, "\"version\":");
        if (m->version >= m->until_version)
            arrive(m);
    } else if (frame_find(f, "\"type\":\"error\"")) {
        counts->errors++;
        leave(m, backoff_ms());
    } else if (frame_find(f, "\"type\":\"unsubscribed\"")) {
        die("a member was told %.*s", (int)f->len, f->payload);
    }
}

static void take_close(struct member *m, const struct frame *f) {
    static const char name[] = "\"retryAfterMs\":";
    const unsigned char *p = (const unsigned char *)f->payload;
    unsigned code = f->len >= 2 ? (unsigned)p[0] << 8 | p[1] : 0;
    const char *at = frame_find(f, name);
    m->rolling->counts.closes_1001 += code == GOING_AWAY;
    m->rolling->counts.closes_other += code != GOING_AWAY;
    leave(m, at ? strtoull(at + strlen(name), NULL, 10) : backoff_ms());
}

static void take_frame(struct member *m, const struct frame *f) {
    if (f->first == FRAME_TEXT)
        take_text(m, f);
    else if (f->first == FRAME_PING)
        frame_send(&m->source, FRAME_PONG, f->payload, f->len);
    else if (f->first == FRAME_CLOSE)
        take_close(m, f);
    else if (f->first != FRAME_PONG)
        die("a frame that begins with %02x: %.*s", f->first, (int)f->len, f->payload);
}

static bool take_upgrade(struct member *m) {
    const char *end = m->in.len ? memmem(m->in.data, m->in.len, "\r\n\r\n", 4) : NULL;
    if (!end)
        return false;
    if (strncmp(m->in.data, "HTTP/1.1 101", 12) != 0) {
        m->rolling->counts.upgrades_refused++;
        leave(m, backoff_ms());
        return false;
    }
    m->state = MEMBER_WAITING;
    buf_drop(&m->in, (size_t)(end - m->in.data) + 4);
    return true;
}

static void take(struct member *m) {
    struct frame f;
    size_t from = 0;
    if (m->state == MEMBER_UPGRADING && !take_upgrade(m))
        return;
    while (m->state != MEMBER_AWAY && frame_next(m->in.data + from, m->in.len - from, &f)) {
        from += f.whole;
        take_frame(m, &f);
    }
    if (m->state == MEMBER_AWAY)
        return;
    if (from == m->in.len)
        buf_done(&m->in); /* ten thousand of them rest */
    else
        buf_drop(&m->in, from);
}

/* Returns whether there may be more: the socket tells only once of what has arrived, and an end
 * that came with it is behind it. */
static bool receive(struct member *m) {
    buf_reserve(&m->in, READ_BYTES);
    ssize_t n = recv(m->source.fd, m->in.data + m->in.len, READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return errno == EINTR;
    if (n <= 0) {
        m->rolling->counts.cuts++;
        leave(m, backoff_ms());
        return false;
    }
    m->in.len += (size_t)n;
    m->in.data[m->in.len] = '\0';
    take(m);
    return m->state != MEMBER_AWAY;
}

static void on_readable(struct source *s) {
    while (receive((struct member *)s))
        continue;
    struct member *m = (struct member *)s;
    if (m->state != MEMBER_AWAY && m->in.data && !m->in.len)
        buf_done(&m->in);
}

/* ---- connecting ---- */

void member_connect(struct member *m) {
    struct rolling *r = m->rolling;
    size_t i = (size_t)(m - r->members);
    uint16_t port = r->ws_ports[i % r->n_ports];
    _cleanup_(buf_done) struct buf request = BUF_NULL;
    sockets_connect_from(&r->sockets, &m->source, (unsigned)i, port, on_readable);
    count_return(r, now_ns());
    m->state = MEMBER_UPGRADING;
    buf_printf(&request, "GET /ws?session=%s", r->sessions[m->session].id);
    if (m->was_there)
        buf_printf(&request, "&since=%llu&epoch=1", (unsigned long long)m->version);
    buf_printf(&request,
               " HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
               "Sec-WebSocket-Protocol: handoff.v1\r\nAuthorization: Bearer %s\r\n\r\n",
               json_string_value(json_array_get(r->tokens, i)));
    source_send(&m->source, request.data, request.len);
}

void member_look(struct member *m, uint64_t now) {
    if (m->state == MEMBER_AWAY && m->due_ns <= now)
        member_connect(m);
}

void member_done(struct member *m) {
    if (m->state != MEMBER_AWAY)
        sockets_close(&m->rolling->sockets, &m->source);
    buf_done(&m->in);
}
