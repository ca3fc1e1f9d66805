/* Cursors: base64url of a plain text, without padding; see cursor.h. The texts are
 * "<moment>,<id>", "<epoch>,<version>" and "<epoch>,<version>,<moment>,<message id>". */
#include "services/session_api/cursor.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timestamp.h"

#define SESSION_PLAIN_LEN (TIMESTAMP_LEN + 1 + UUID_LEN)
#define EVENT_PLAIN_MAX (2 * 11 + TIMESTAMP_LEN + 1 + CURSOR_MESSAGE_ID_MAX)

_Static_assert(EVENT_PLAIN_MAX < CURSOR_PLAIN_CAP, "a cursor fits");

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* ---- base64url ---- */

static void encode(const char *plain, char ret[static CURSOR_CAP]) {
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    for (; *plain; plain++) {
        bits = bits << 8 | (unsigned char)*plain;
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            ret[n++] = digits[bits >> (n_bits - 6) & 63];
    }
    if (n_bits > 0)
        ret[n++] = digits[bits << (6 - n_bits) & 63];
    ret[n] = '\0';
}

/* False for what encode never writes, or not of printable text. */
static bool decode(const char *text, char ret[static CURSOR_PLAIN_CAP]) {
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    if (strlen(text) >= CURSOR_CAP)
        return false;
    for (; *text; text++) {
        const char *digit = strchr(digits, *text);
        if (!digit)
            return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
        n_bits += 6;
        if (n_bits < 8)
            continue;
        n_bits -= 8;
        char c = (char)(bits >> n_bits & 255);
        if (c < ' ' || c > '~' || n + 1 >= CURSOR_PLAIN_CAP)
            return false;
        ret[n++] = c;
    }
    ret[n] = '\0';
    return n_bits < 6 && (bits & ((1u << n_bits) - 1)) == 0;
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
