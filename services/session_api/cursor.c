/* Cursors: base64url of a plain text, without padding; see cursor.h. The texts are
 * "<moment>,<id>", "<epoch>,<version>" and "<epoch>,<version>,<moment>,<message id>". */
#include "services/session_api/cursor.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64url.h"
#include "base/timestamp.h"

#define SESSION_PLAIN_LEN (TIMESTAMP_LEN + 1 + UUID_LEN)
#define EVENT_PLAIN_MAX (2 * 11 + TIMESTAMP_LEN + 1 + CURSOR_MESSAGE_ID_MAX)

_Static_assert(EVENT_PLAIN_MAX < CURSOR_PLAIN_CAP, "a cursor fits");

/* ---- base64url ---- */

static void encode(const char *plain, char ret[static CURSOR_CAP]) {
    base64url_print(plain, strlen(plain), ret);
}

/* False for what encode never writes, or not of printable text. */
static bool decode(const char *text, char ret[static CURSOR_PLAIN_CAP]) {
    char bytes[CURSOR_CAP];
    size_t len = strlen(text);
    ssize_t n = len < CURSOR_CAP ? base64url_decode(text, len, bytes) : -1;
    if (n < 0 || n >= CURSOR_PLAIN_CAP)
        return false;
    for (ssize_t i = 0; i < n; i++)
        if (bytes[i] < ' ' || bytes[i] > '~')
            return false;
    memcpy(ret, bytes, (size_t)n);
    ret[n] = '\0';
    return true;
}

/* ---- sessions ---- */

void cursor_print(const struct cursor *c, char ret[static CURSOR_CAP]) {
    char plain[CURSOR_PLAIN_CAP], moment[TIMESTAMP_LEN + 1];
    timestamp_print(c->created_at, moment);
    snprintf(plain, sizeof(plain), "%s,%s", moment, c->id);
    encode(plain, ret);
}

bool cursor_parse(const char *text, struct cursor *ret) {
    char plain[CURSOR_PLAIN_CAP];
    if (!decode(text, plain) || strlen(plain) != SESSION_PLAIN_LEN || plain[TIMESTAMP_LEN] != ',' ||
        !uuid_is(plain + TIMESTAMP_LEN + 1, UUID_LEN) ||
        !timestamp_parse(plain, TIMESTAMP_LEN, &ret->created_at))
        return false;
    memcpy(ret->id, plain + TIMESTAMP_LEN + 1, UUID_LEN + 1);
    return true;
}

/* ---- positions and events ---- */

/* A number as PostgreSQL's integer holds it, and `end` after it; NULL when it is none. */
static const char *take_number(const char *p, char end, uint64_t *ret) {
    size_t len = strspn(p, "0123456789");
    if (len == 0 || len > 10 || p[0] == '0' || p[len] != end)
        return NULL;
    *ret = strtoull(p, NULL, 10);
    return *ret <= INT_MAX ? p + len + (end != '\0') : NULL;
}

void cursor_print_position(struct position p, char ret[static CURSOR_CAP]) {
    char plain[CURSOR_PLAIN_CAP];
    snprintf(plain, sizeof(plain), "%" PRIu64 ",%" PRIu64, p.epoch, p.version);
    encode(plain, ret);
}

bool cursor_parse_position(const char *text, struct position *ret) {
    char plain[CURSOR_PLAIN_CAP];
    const char *p = decode(text, plain) ? take_number(plain, ',', &ret->epoch) : NULL;
    return p && take_number(p, '\0', &ret->version);
}

void cursor_print_event(const struct event_cursor *c, char ret[static CURSOR_CAP]) {
    char plain[CURSOR_PLAIN_CAP], moment[TIMESTAMP_LEN + 1];
    timestamp_print(c->moment, moment);
    snprintf(plain, sizeof(plain), "%" PRIu64 ",%" PRIu64 ",%s,%s", c->position.epoch,
             c->position.version, moment, c->message_id);
    encode(plain, ret);
}

bool cursor_parse_event(const char *text, struct event_cursor *ret) {
    char plain[CURSOR_PLAIN_CAP];
    const char *p = decode(text, plain) ? take_number(plain, ',', &ret->position.epoch) : NULL;
    if (p)
        p = take_number(p, ',', &ret->position.version);
    if (!p || strlen(p) <= TIMESTAMP_LEN + 1 || p[TIMESTAMP_LEN] != ',' ||
        !timestamp_parse(p, TIMESTAMP_LEN, &ret->moment))
        return false;
    p += TIMESTAMP_LEN + 1;
    if (strlen(p) > CURSOR_MESSAGE_ID_MAX)
        return false;
    memcpy(ret->message_id, p, strlen(p) + 1);
    return true;
}
