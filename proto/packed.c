/* See packed.h. A byte below 0x20, which JSON text has only in escapes, stands for a piece of text,
 * or says what follows in fewer characters. All of it is what Redis holds: the codes may be added
 * to, never changed. */
#include "proto/packed.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/base64url.h"
#include "base/hash.h"
#include "base/timestamp.h"
#include "base/uuid.h"

enum code {
    CODE_LITERAL,    /* and a byte that would be a code */
    CODE_SESSION,    /* the session's id */
    CODE_UUID,       /* and its 22 digits */
    CODE_HASH,       /* SHA-256 in hex: and its 43 digits */
    CODE_MOMENT,     /* a timestamp: and 8 digits, of its milliseconds */
    CODE_FIRST_PIECE /* and on: piece_texts */
};

/* Of two of which one begins with the other the longer one stands first. */
static const char *const piece_texts[] = {
    "{\"type\":\"state_delta\",\"sessionId\":\"",
    "{\"type\":\"session_created\",\"sessionId\":\"",
    "\",\"sessionId\":\"",
    "\",\"epoch\":1,\"version\":",
    ",\"version\":",
    ",\"timestamp\":\"",
    "\",\"userId\":\"",
    "\",\"deviceId\":\"",
    "\",\"baseVersion\":",
    ",\"operations\":[{\"op\":\"replace\",\"path\":\"/data/",
    "{\"op\":\"replace\",\"path\":\"/data/",
    "{\"op\":\"add\",\"path\":\"/data/",
    "{\"op\":\"remove\",\"path\":\"/data/",
    ",\"operations\":[",
    "\",\"value\":",
    "}],\"checksum\":\"",
    "],\"checksum\":\"",
    ",\"checksum\":\"",
    "\",\"session\":{\"id\":\"",
    "\",\"name\":\"",
    "\",\"type\":\"",
    "\",\"status\":\"active\",\"role\":\"owner\",\"version\":1,\"epoch\":1,\"createdAt\":\"",
    "\",\"updatedAt\":\"",
    "\",\"completedAt\":null,\"ttlSeconds\":3600,\"onIdle\":\"pause\",\"expiresAt\":\"",
    "\",\"activeDeviceId\":\"",
    "\",\"lastModified\":\"",
    "\",\"modifiedBy\":\"",
};

#define N_PIECES N_ELEMENTS(piece_texts)
_Static_assert(CODE_FIRST_PIECE + N_PIECES <= ' ', "each piece is a byte");

#define N_UUID_NIBBLES 32
#define N_UUID_DIGITS 22
#define N_HASH_DIGITS 43
#define N_MOMENT_DIGITS 8

static bool is_code(char c) {
    return (unsigned char)c < ' ';
}

bool packed_is(const char *packed, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (is_code(packed[i]))
            return true;
    return false;
}

/* ---- four bits of hexadecimal text, six of ours ---- */

static const char digits[] = BASE64URL_ALPHABET;
static const char hex_digits[] = "0123456789abcdef";

static unsigned hex_value(char c) {
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* What is put in a value's or a piece's place. */
struct packed {
    char bytes[1 + N_HASH_DIGITS];
    size_t n;
};

static void put(struct packed *p, unsigned c) {
    p->bytes[p->n++] = (char)c;
}

/* Dashes are passed over. */
static void put_hex(struct packed *p, const char *hex, size_t len) {
    unsigned bits = 0, n_bits = 0;
    for (size_t i = 0; i < len; i++) {
        if (hex[i] == '-')
            continue;
        bits = bits << 4 | hex_value(hex[i]);
        n_bits += 4;
        if (n_bits < 6)
            continue;
        n_bits -= 6;
        put(p, (unsigned char)digits[bits >> n_bits & 63]);
    }
    if (n_bits > 0)
        put(p, (unsigned char)digits[bits << (6 - n_bits) & 63]);
}

static bool read_hex(const char *text, size_t n_digits, size_t n_nibbles, char *ret) {
    unsigned bits = 0, n_bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < n_digits; i++) {
        int value = base64url_value(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (unsigned)value;
        for (n_bits += 6; n_bits >= 4 && n < n_nibbles; n_bits -= 4)
            ret[n++] = hex_digits[bits >> (n_bits - 4) & 15];
    }
    return (bits & ((1u << n_bits) - 1)) == 0;
}

/* ---- packing ---- */

/* Whether the text begins with a value of that length, which ends with it or before a quote. */
static bool ends_after(const char *at, size_t left, size_t len) {
    return left == len || (left > len && at[len] == '"');
}

/* How many bytes of the text are a value that has a shorter form; 0: none. */
static size_t pack_value(const char *at, size_t left, const char *session_id, struct packed *ret) {
    int64_t moment;
    if (ends_after(at, left, UUID_LEN) && uuid_is(at, UUID_LEN)) {
        bool is_session = strncmp(at, session_id, UUID_LEN) == 0;
        put(ret, is_session ? CODE_SESSION : CODE_UUID);
        if (!is_session)
            put_hex(ret, at, UUID_LEN);
        return UUID_LEN;
    }
    if (ends_after(at, left, HASH_HEX_LEN) && hash_is_hex(at, HASH_HEX_LEN)) {
        put(ret, CODE_HASH);
        put_hex(ret, at, HASH_HEX_LEN);
        return HASH_HEX_LEN;
    }
    if (!ends_after(at, left, TIMESTAMP_LEN) || !timestamp_parse(at, TIMESTAMP_LEN, &moment) ||
        moment < 0)
        return 0;
    put(ret, CODE_MOMENT);
    for (int shift = 6 * (N_MOMENT_DIGITS - 1); shift >= 0; shift -= 6)
        put(ret, (unsigned char)digits[moment >> shift & 63]);
    return TIMESTAMP_LEN;
}

/* Most pieces are told by their first character and their third. */
static size_t pack_piece(const char *at, size_t left, struct packed *ret) {
    for (size_t i = 0; left > 2 && i < N_PIECES; i++) {
        const char *piece = piece_texts[i];
        if (piece[0] != at[0] || piece[2] != at[2])
            continue;
        size_t len = strlen(piece);
        if (len > left || memcmp(at, piece, len) != 0)
            continue;
        put(ret, CODE_FIRST_PIECE + (unsigned)i);
        return len;
    }
    return 0;
}

static size_t pack_next(const char *text, size_t i, size_t len, const char *session_id,
                        struct packed *ret) {
    size_t used = 0;
    if (i == 0 || text[i - 1] == '"')
        used = pack_value(text + i, len - i, session_id, ret);
    if (used == 0 &&
        (text[i] == '"' || text[i] == ',' || text[i] == '{' || text[i] == '}' || text[i] == ']'))
        used = pack_piece(text + i, len - i, ret);
    if (used == 0 && is_code(text[i])) {
        put(ret, CODE_LITERAL);
        put(ret, (unsigned char)text[i]);
        used = 1;
    }
    return used;
}

void packed_print(const char *text, size_t len, const char *session_id, struct buf *out) {
    size_t plain_from = 0, used;
    buf_reserve(out, len);
    for (size_t i = 0; i < len; i += used ? used : 1) {
        struct packed packed = {.n = 0};
        used = pack_next(text, i, len, session_id, &packed);
        if (used == 0)
            continue;
        buf_put(out, text + plain_from, i - plain_from);
        buf_put(out, packed.bytes, packed.n);
        plain_from = i + used;
    }
    buf_put(out, text + plain_from, len - plain_from);
}

/* ---- reading ---- */

static bool read_uuid(const char *at, struct buf *out) {
    static const unsigned groups[] = {8, 4, 4, 4, 12};
    char hex[N_UUID_NIBBLES];
    if (!read_hex(at, N_UUID_DIGITS, sizeof(hex), hex))
        return false;
    for (size_t i = 0, from = 0; i < N_ELEMENTS(groups); from += groups[i++]) {
        if (i > 0)
            buf_putc(out, '-');
        buf_put(out, hex + from, groups[i]);
    }
    return true;
}

static bool read_hash(const char *at, struct buf *out) {
    char hex[HASH_HEX_LEN];
    bool is_whole = read_hex(at, N_HASH_DIGITS, sizeof(hex), hex);
    if (is_whole)
        buf_put(out, hex, sizeof(hex));
    return is_whole;
}

static bool read_moment(const char *at, struct buf *out) {
    char text[TIMESTAMP_LEN + 1];
    int64_t moment = 0;
    for (size_t i = 0; i < N_MOMENT_DIGITS; i++) {
        int value = base64url_value(at[i]);
        if (value < 0)
            return false;
        moment = moment << 6 | value;
    }
    timestamp_print(moment, text);
    buf_put(out, text, TIMESTAMP_LEN);
    return true;
}

/* How many bytes belong to the code, itself included; 0: it is none, or cut off. */
static size_t read_code(const char *at, size_t left, const char *session_id, struct buf *out) {
    static const size_t n_behind[] = {[CODE_LITERAL] = 1,
                                      [CODE_SESSION] = 0,
                                      [CODE_UUID] = N_UUID_DIGITS,
                                      [CODE_HASH] = N_HASH_DIGITS,
                                      [CODE_MOMENT] = N_MOMENT_DIGITS};
    size_t code = (unsigned char)*at;
    if (code >= CODE_FIRST_PIECE + N_PIECES)
        return 0;
    if (code >= CODE_FIRST_PIECE) {
        buf_puts(out, piece_texts[code - CODE_FIRST_PIECE]);
        return 1;
    }
    bool is_whole = left > n_behind[code];
    if (code == CODE_LITERAL && is_whole)
        buf_putc(out, at[1]);
    else if (code == CODE_SESSION)
        buf_puts(out, session_id);
    else if (code == CODE_UUID)
        is_whole = is_whole && read_uuid(at + 1, out);
    else if (code == CODE_HASH)
        is_whole = is_whole && read_hash(at + 1, out);
    else if (code == CODE_MOMENT)
        is_whole = is_whole && read_moment(at + 1, out);
    return is_whole ? 1 + n_behind[code] : 0;
}

int packed_read(const char *packed, size_t len, const char *session_id, struct buf *out) {
    for (size_t i = 0; i < len;) {
        size_t n_plain = 0;
        while (i + n_plain < len && !is_code(packed[i + n_plain]))
            n_plain++;
        buf_put(out, packed + i, n_plain);
        i += n_plain;
        if (i == len)
            break;
        size_t used = read_code(packed + i, len - i, session_id, out);
        if (used == 0)
            return -EBADMSG;
        i += used;
    }
    return 0;
}
