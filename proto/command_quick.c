/* Patches as command_print writes them, read mark by mark: they are most of all commands, and a
 * tree of the whole command costs four times as much. Each member is judged as command_parse judges
 * it; what is not plainly right is left to that. */
#include <string.h>

#include "proto/command.h"
#include "proto/command_names.h"
#include "proto/reader.h"
#include "proto/text_private.h"

typedef bool text_valid_fn(const char *text, size_t len);

/* A text that needs no escapes, with the quote behind it. */
static bool read_text(struct reader *r, char *ret, size_t cap, text_valid_fn *is_valid) {
    const char *text;
    size_t len;
    if (!reader_quoted(r, &text, &len) || len >= cap || memchr(text, '\\', len) ||
        !is_valid(text, len))
        return false;
    memcpy(ret, text, len);
    ret[len] = '\0';
    return true;
}

static bool read_text_if_any(struct reader *r, const char *mark, char *ret, size_t cap,
                             text_valid_fn *is_valid) {
    return !reader_skip(r, mark) || read_text(r, ret, cap, is_valid);
}

static bool read_scope(struct reader *r, unsigned *ret) {
    if (!reader_skip(r, "["))
        return false;
    for (unsigned i = 0; i < COMMAND_N_RIGHTS; i++) {
        struct reader before = *r;
        if ((*ret && !reader_skip(r, ",")) || !reader_skip(r, "\"") ||
            !reader_skip(r, command_right_names[i]) || !reader_skip(r, "\""))
            *r = before;
        else
            *ret |= 1u << i;
    }
    return reader_skip(r, "]");
}

static bool read_moment(struct reader *r, int64_t *ret) {
    uint64_t number;
    if (!reader_number(r, &number))
        return false;
    *ret = (int64_t)number;
    return true;
}

static bool read_base(struct reader *r, struct command *c) {
    if (!reader_skip(r, ",\"baseVersion\":"))
        return true;
    c->has_base = true;
    return reader_number(r, &c->base.version) && c->base.version > 0 &&
           reader_skip(r, ",\"epoch\":") && reader_number(r, &c->base.epoch) && c->base.epoch > 0;
}

static bool read_trace(struct reader *r, struct trace_context *ret) {
    const char *text;
    size_t len;
    return reader_quoted(r, &text, &len) && trace_context_parse(text, len, ret);
}

static bool read_frame(struct reader *r, struct command *c) {
    c->kind = COMMAND_PATCH;
    if (!reader_skip(r, "{\"id\":\"") || !read_text(r, c->id, sizeof(c->id), uuid_is) ||
        !reader_skip(r, ",\"kind\":\"patch\",\"sessionId\":\"") ||
        !read_text(r, c->session_id, sizeof(c->session_id), uuid_is) ||
        !reader_skip(r, ",\"userId\":\"") ||
        !read_text(r, c->user_id, sizeof(c->user_id), uuid_is) ||
        !reader_skip(r, ",\"deviceId\":\"") ||
        !read_text(r, c->device_id, sizeof(c->device_id), session_device_is_valid) ||
        !reader_skip(r, ",\"scope\":") || !read_scope(r, &c->rights) ||
        !read_text_if_any(r, ",\"key\":\"", c->key, sizeof(c->key), command_key_is_valid) ||
        !reader_skip(r, ",\"deadline\":") || !read_moment(r, &c->deadline))
        return false;
    if (reader_skip(r, ",\"sentAt\":") && !read_moment(r, &c->sent_at))
        return false;
    c->if_match_any = reader_skip(r, ",\"ifMatch\":\"*\"");
    if (!read_base(r, c))
        return false;
    c->wants_session = reader_skip(r, ",\"wantsSession\":true");
    return !reader_skip(r, ",\"traceparent\":\"") || read_trace(r, &c->trace);
}

static bool read_patch(struct reader *r, struct command *c) {
    bool merges = reader_skip(r, ",\"mergePatch\":");
    if (!merges && !reader_skip(r, ",\"operations\":"))
        return false;
    const char *at = r->at;
    c->format = merges ? COMMAND_PATCH_MERGE : COMMAND_PATCH_OPERATIONS;
    c->patch = text_read_quickly(&at, r->at + r->left);
    reader_advance(r, (size_t)(at - r->at));
    if (!c->patch || (merges ? !json_is_object(c->patch) : !json_is_array(c->patch)))
        return false;
    c->disjoint = reader_skip(r, ",\"merge\":\"disjoint\"");
    return c->disjoint ||
           read_text_if_any(r, ",\"checksum\":\"", c->checksum, sizeof(c->checksum), hash_is_hex);
}

bool command_read_quickly(struct reader *r, struct command *ret) {
    struct reader at = *r;
    struct command c = {0};
    if (!read_frame(&at, &c) || !read_patch(&at, &c) || !reader_skip(&at, "}")) {
        command_done(&c);
        return false;
    }
    *ret = c;
    *r = at;
    return true;
}
