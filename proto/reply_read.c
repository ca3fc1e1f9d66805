/* The replies that nearly all are: a command took effect. Read mark by mark as reply_print writes
 * them, with the session as it stands; every other is reply_parse's. */
#include "base/buf.h"
#include "proto/command.h"
#include "proto/reader.h"

static bool read_uuid(struct reader *r, const char *mark, char ret[static UUID_LEN + 1]) {
    if (!reader_skip(r, mark) || r->left < UUID_LEN || !uuid_is(r->at, UUID_LEN))
        return false;
    memcpy(ret, r->at, UUID_LEN);
    ret[UUID_LEN] = '\0';
    reader_advance(r, UUID_LEN);
    return reader_skip(r, "\"");
}

static bool read_count(struct reader *r, uint64_t *ret) {
    return reader_number(r, ret) && *ret > 0;
}

static bool read_checksum(struct reader *r, char ret[static HASH_HEX_LEN + 1]) {
    const char *text;
    size_t len;
    if (!reader_quoted(r, &text, &len) || !hash_is_hex(text, len))
        return false;
    memcpy(ret, text, len);
    ret[len] = '\0';
    return true;
}

static bool read_moment(struct reader *r, int64_t *ret) {
    return reader_skip(r, "\"") && reader_moment(r, ret) && reader_skip(r, "\"");
}

static bool read_effect(struct reader *r, struct reply *reply) {
    return reader_skip(r, ",\"version\":") && read_count(r, &reply->position.version) &&
           reader_skip(r, ",\"epoch\":") && read_count(r, &reply->position.epoch) &&
           (!reader_skip(r, ",\"baseVersion\":") || read_count(r, &reply->base_version)) &&
           (!reader_skip(r, ",\"checksum\":\"") || read_checksum(r, reply->checksum)) &&
           (!reader_skip(r, ",\"lastModified\":") || read_moment(r, &reply->last_modified)) &&
           reader_skip(r, ",\"expiresAt\":") &&
           (reader_skip(r, "null") || read_moment(r, &reply->expires_at));
}

bool reply_read(struct reader *r, struct reply *ret) {
    struct reply reply = {.fault.index = -1};
    struct reader at = *r;
    if (!read_uuid(&at, "{\"id\":\"", reply.id) ||
        !read_uuid(&at, ",\"sessionId\":\"", reply.session_id) || !read_effect(&at, &reply))
        return false;
    reply.rebased = reader_skip(&at, ",\"rebased\":true");
    reply.replayed = reader_skip(&at, ",\"replayed\":true");
    const char *session = NULL;
    size_t len = 0;
    if ((reader_skip(&at, ",\"session\":") && !reader_object(&at, &session, &len)) ||
        !reader_skip(&at, "}"))
        return false;
    if (session)
        reply.session = must_memdup(session, len);
    *r = at;
    *ret = reply;
    return true;
}
