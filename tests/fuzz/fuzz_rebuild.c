/* An earlier version, made again of lines: a kept state, then patches, each of which becomes the
 * delta that it is when it applies alone. Applied together they must lead to the same data. Then
 * the lines once more, as whatever a store may have kept: what is believed has its checksum. */
#include <errno.h>
#include <inttypes.h>

#include "fuzz_json.h"
#include "proto/canonical.h"
#include "proto/patch.h"
#include "proto/rebuild.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define USER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"

struct line {
    const char *text;
    size_t len;
};

/* Takes the next line off the input; false at its end. */
static bool take_line(const char **at, const char *end, struct line *ret) {
    if (*at >= end)
        return false;
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    ret->text = *at;
    ret->len = (size_t)((newline ? newline : end) - *at);
    *at += ret->len + 1;
    return true;
}

static void checksum_of(const json_t *data, char ret[static HASH_HEX_LEN + 1]) {
    struct buf text = BUF_NULL;
    canonical_print(data, &text);
    hash_sha256_hex(text.data, text.len, ret);
    buf_done(&text);
}

static void print_delta(uint64_t version, const json_t *operations, const char *checksum,
                        struct buf *out) {
    buf_printf(out,
               "{\"type\":\"state_delta\",\"sessionId\":\"" ID "\",\"epoch\":1,"
               "\"version\":%" PRIu64 ",\"timestamp\":\"2026-02-12T12:00:00.000Z\","
               "\"userId\":\"" USER "\",\"deviceId\":\"d\",\"baseVersion\":%" PRIu64
               ",\"checksum\":\"%s\",\"operations\":",
               version, version - 1, checksum);
    text_print(operations, out);
    buf_putc(out, '}');
}

/* The document after the line's operations, as an engine applies them; NULL: refused. */
static json_t *apply(json_t *document, const struct line *line, struct patch_result *ret) {
    static const struct patch_limits limits = {SESSION_DATA_MAX_BYTES, SESSION_DATA_MAX_DEPTH};
    json_t *operations = fuzz_value((const uint8_t *)line->text, line->len);
    size_t bytes = canonical_size(json_object_get(document, "data"));
    int r = operations ? patch_apply(document, bytes, operations, &limits, ret, NULL) : -1;
    json_decref(operations);
    return r == 0 ? ret->document : NULL;
}

/* One more version of the document, in both ways. */
static void add(struct rebuild *r, json_t **document, const struct line *line) {
    struct patch_result result = {0};
    char checksum[HASH_HEX_LEN + 1];
    struct buf event = BUF_NULL;
    if (apply(*document, line, &result)) {
        checksum_of(json_object_get(result.document, "data"), checksum);
        print_delta(r->position.version + 1, result.operations, checksum, &event);
        must_hold(rebuild_add(r, event.data, event.len) == 0);
        json_decref(*document);
        *document = json_incref(result.document);
    } else {
        must_hold(rebuild_skip(r, (struct position){r->position.version + 1, 1}) == 0);
    }
    patch_result_done(&result);
    buf_done(&event);
}

static void check_patches(const char *at, const char *end) {
    struct line line;
    json_t *data =
        take_line(&at, end, &line) ? fuzz_value((const uint8_t *)line.text, line.len) : NULL;
    if (!data || canonical_size(data) > SESSION_DATA_MAX_BYTES) {
        json_decref(data);
        return;
    }
    struct rebuild r = REBUILD_NULL;
    struct buf rebuilt = BUF_NULL, wanted = BUF_NULL;
    char checksum[HASH_HEX_LEN + 1];
    checksum_of(data, checksum);
    must_hold(rebuild_begin(&r, (struct position){7, 1}, line.text, line.len, checksum) == 0);
    json_t *document = json_pack("{s:s, s:o}", "name", "its name then", "data", data);
    while (take_line(&at, end, &line))
        add(&r, &document, &line);
    must_hold(rebuild_end(&r, &rebuilt) == 0);
    canonical_print(json_object_get(document, "data"), &wanted);
    must_equal(&rebuilt, &wanted);
    buf_done(&wanted);
    buf_done(&rebuilt);
    json_decref(document);
    rebuild_done(&r);
}

/* Whatever is taken as a version's data has that version's checksum. */
static void check_stored(const char *at, const char *end) {
    struct line line;
    struct rebuild r = REBUILD_NULL;
    struct buf data = BUF_NULL;
    char checksum[HASH_HEX_LEN + 1];
    int err = 0;
    while (!err && take_line(&at, end, &line)) {
        err = line.len ? rebuild_add(&r, line.text, line.len)
                       : rebuild_skip(&r, (struct position){r.position.version + 1, 1});
        must_hold(err == 0 || err == -EBADMSG);
    }
    if (!err && rebuild_end(&r, &data) == 0) {
        hash_sha256_hex(data.data, data.len, checksum);
        must_hold(strcmp(checksum, r.checksum) == 0 && r.position.version >= 1);
    }
    buf_done(&data);
    rebuild_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    check_patches(text, text + size);
    check_stored(text, text + size);
    return 0;
}
