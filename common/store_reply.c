/* What Redis answered, as our values. Everything is checked: the store is trusted to be ours, not
 * to be whole, and a value that cannot be is -EBADMSG, never a crash. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/store_private.h"

bool store_parse_u64(const char *text, size_t len, uint64_t *ret) {
    uint64_t number = 0;
    if (!len)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, digit, &number))
            return false;
    }
    *ret = number;
    return true;
}

void store_copy(char *ret, size_t cap, const char *text, size_t len) {
    if (len >= cap)
        len = cap - 1;
    if (len)
        memcpy(ret, text, len);
    ret[len] = '\0';
}

static int take_meta(const redisReply *meta, struct session *s) {
    if (meta->type != REDIS_REPLY_ARRAY || meta->elements % 2)
        return -EBADMSG;
    if (!meta->elements)
        return -ENOENT;
    for (size_t i = 0; i < meta->elements; i += 2) {
        const redisReply *field = meta->element[i], *value = meta->element[i + 1];
        if (field->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING)
            return -EBADMSG;
        int err = session_take_meta(s, field->str, value->str, (size_t)value->len);
        if (err)
            return err;
    }
    return s->position.version && s->position.epoch && *s->user_id ? 0 : -EBADMSG;
}

/* The position is meta's: a change of the status alone leaves the state's text, and the version in
 * it, as they were. */
static int take_state(const redisReply *state, struct session *s) {
    struct position position = s->position;
    if (state->type != REDIS_REPLY_STRING)
        return -EBADMSG;
    int err = session_parse_state(s, state->str, (size_t)state->len);
    if (!err && s->position.version > position.version)
        err = -EBADMSG;
    s->position = position;
    return err;
}

int store_take_session(const redisReply *meta, const redisReply *state, const char *session_id,
                       struct session *s) {
    store_copy(s->id, sizeof(s->id), session_id, strlen(session_id));
    int err = take_meta(meta, s);
    if (err || s->deleted)
        return err;
    if (!s->name)
        return -EBADMSG;
    return state ? take_state(state, s) : 0;
}

bool store_take_time(const redisReply *reply, int64_t *ret_ms) {
    uint64_t seconds, micros;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return false;
    const redisReply *s = reply->element[0], *us = reply->element[1];
    if (s->type != REDIS_REPLY_STRING || us->type != REDIS_REPLY_STRING ||
        !store_parse_u64(s->str, (size_t)s->len, &seconds) ||
        !store_parse_u64(us->str, (size_t)us->len, &micros) || seconds > INT64_MAX / 2000)
        return false;
    *ret_ms = (int64_t)seconds * 1000 + (int64_t)(micros / 1000);
    return true;
}

bool store_info(const redisReply *info, const char *name, char *ret, size_t cap) {
    if (info->type != REDIS_REPLY_STRING)
        return false;
    size_t name_len = strlen(name);
    const char *line = info->str;
    while (line) {
        if (strncmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *value = line + name_len + 1;
            store_copy(ret, cap, value, strcspn(value, "\r\n"));
            return true;
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return false;
}

bool store_node_is_fit(const redisReply *info, bool is_cluster, char ret_run_id[static 41],
                       char ret_why[static 256]) {
    char policy[32] = "", loading[8] = "", cluster[8] = "0";
    (void)store_info(info, "cluster_enabled", cluster, sizeof(cluster));
    if (info->type == REDIS_REPLY_ERROR) {
        snprintf(ret_why, 256, "INFO was refused: %.200s", info->str);
    } else if (!store_info(info, "run_id", ret_run_id, 41) ||
               !store_info(info, "maxmemory_policy", policy, sizeof(policy))) {
        snprintf(ret_why, 256, "INFO does not tell run_id and maxmemory_policy");
    } else if (strcmp(policy, "noeviction") != 0) {
        snprintf(ret_why, 256, "maxmemory-policy is %s, it must be noeviction", policy);
    } else if ((cluster[0] == '1') != is_cluster) {
        snprintf(ret_why, 256, "this Redis is %s node of a cluster: the URL must begin with %s://",
                 is_cluster ? "no" : "a", is_cluster ? "redis" : "redis+cluster");
    } else if (store_info(info, "loading", loading, sizeof(loading)) && loading[0] != '0') {
        snprintf(ret_why, 256, "Redis is loading its data");
    } else {
        return true;
    }
    return false;
}

bool store_is_noscript(const redisReply *reply) {
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0;
}

bool store_is_wrong_type(const redisReply *reply) {
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "WRONGTYPE", 9) == 0;
}
