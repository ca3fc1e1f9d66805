/* Loading a batch's sessions: one MULTI each, all in one round trip, so that meta, state, window
 * and idempotency keys of a session are of one moment. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/store_private.h"

#define KEY_LIFETIME_MS (24LL * 3600 * 1000)

static void drop_entries(struct store_load *l) {
    for (size_t i = 0; i < l->n_entries; i++) {
        free(l->entries[i].event);
        free(l->entries[i].extra);
    }
    free(l->entries);
    l->entries = NULL;
    l->n_entries = 0;
}

static void drop_results(struct store_load *l) {
    session_done(&l->session);
    drop_entries(l);
    free(l->idems);
    l->idems = NULL;
    l->session = (struct session){0};
}

void store_load_done(struct store_load *l) {
    drop_results(l);
    *l = (struct store_load){0};
}

/* ---- asking ---- */

static void queue_load(struct store_batch *b, struct store_command *c, const struct store_load *l) {
    store_command_begin(c, "EVALSHA");
    store_puts(c, b->sha[STORE_SCRIPT_READ]);
    store_put_read(c, l->session_id, l->wants_state, l->wants_deltas, l->deltas_since);
    for (size_t i = 0; i < l->n_key_hashes; i++)
        store_puts(c, l->key_hashes[i]);
    store_queue(b->context, c);
}

/* ---- taking answers ---- */

static void copy_text(char *ret, size_t cap, struct store_text from) {
    store_copy(ret, cap, from.text ? from.text : "", from.len);
}

static int take_entries(const redisReply *reply, struct store_load *l) {
    if (reply->type != REDIS_REPLY_ARRAY)
        return -EBADMSG;
    l->entries = must_alloc(reply->elements * sizeof(*l->entries));
    for (size_t i = 0; i < reply->elements; i++) {
        struct store_entry_view view;
        int err = store_view_entry(reply->element[i], &view);
        if (err)
            return err;
        struct store_entry *e = &l->entries[l->n_entries++];
        e->version = view.version;
        e->time = view.time;
        copy_text(e->command_id, sizeof(e->command_id), view.command_id);
        copy_text(e->snapshot_id, sizeof(e->snapshot_id), view.snapshot_id);
        e->event = must_memdup(view.event.text, view.event.len);
        e->event_len = view.event.len;
        e->extra = view.extra.text ? must_memdup(view.extra.text, view.extra.len) : NULL;
    }
    return 0;
}

static struct store_text next_word(struct store_text *rest) {
    const char *space = rest->len ? memchr(rest->text, ' ', rest->len) : NULL;
    struct store_text word = {rest->text, space ? (size_t)(space - rest->text) : rest->len};
    size_t used = word.len + (space != NULL);
    rest->text += used;
    rest->len -= used;
    return word;
}

/* '<time> <fingerprint> <version> <epoch> <checksum>', as store_save.c writes it. */
static int take_idem(const redisReply *reply, int64_t now, struct store_idem *ret) {
    if (reply->type == REDIS_REPLY_NIL)
        return 0;
    if (reply->type != REDIS_REPLY_STRING)
        return -EBADMSG;
    struct store_text rest = {reply->str, (size_t)reply->len};
    struct store_text time = next_word(&rest), fingerprint = next_word(&rest);
    struct store_text version = next_word(&rest), epoch = next_word(&rest);
    uint64_t then;
    if (!store_parse_u64(time.text, time.len, &then) || fingerprint.len != HASH_HEX_LEN ||
        !store_parse_u64(version.text, version.len, &ret->position.version) ||
        !store_parse_u64(epoch.text, epoch.len, &ret->position.epoch) || rest.len > HASH_HEX_LEN)
        return -EBADMSG;
    copy_text(ret->fingerprint, sizeof(ret->fingerprint), fingerprint);
    copy_text(ret->checksum, sizeof(ret->checksum), rest);
    ret->found = now - (int64_t)then < KEY_LIFETIME_MS;
    return 0;
}

static int take_idems(const redisReply *reply, int64_t now, struct store_load *l) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != l->n_key_hashes)
        return -EBADMSG;
    int err = 0;
    for (size_t i = 0; i < l->n_key_hashes && !err; i++)
        err = take_idem(reply->element[i], now, &l->idems[i]);
    return err;
}

static int take_parts(redisReply *const *part, int64_t now, struct store_load *l) {
    const redisReply *state = l->wants_state ? part[STORE_READ_STATE] : NULL;
    int err = store_take_session(part[STORE_READ_META], state, l->session_id, &l->session);
    if (!err && l->wants_deltas)
        err = take_entries(part[STORE_READ_DELTAS], l);
    if (!err && l->n_key_hashes)
        err = take_idems(part[STORE_READ_IDEMS], now, l);
    return err;
}

/* An error (access refused, loading) is no answer about this session: the whole load is void. */
static int take_load(struct store_batch *b, int64_t now, struct store_load *l, bool *lacks_script) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = store_next(b, &reply);
    if (err)
        return err;
    if (store_is_noscript(reply)) {
        *lacks_script = true;
        return 0;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != STORE_N_READ)
        return store_drop(b, -EIO);
    drop_results(l);
    l->idems = must_alloc(l->n_key_hashes * sizeof(*l->idems));
    l->err = take_parts(reply->element, now, l);
    return 0;
}

static int take_now(struct store_batch *b, int64_t *ret_now) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = store_next(b, &reply);
    if (err)
        return err;
    return store_take_time(reply, ret_now) ? 0 : store_drop(b, -EIO);
}

static int load_all(struct store_batch *b, struct store_load *loads, size_t n, int64_t *ret_now,
                    bool *lacks_script) {
    struct store_command c = {0};
    store_command_begin(&c, "TIME");
    store_queue(b->context, &c);
    for (size_t i = 0; i < n; i++)
        queue_load(b, &c, &loads[i]);
    store_command_done(&c);
    int err = take_now(b, ret_now);
    for (size_t i = 0; i < n && !err; i++)
        err = take_load(b, *ret_now, &loads[i], lacks_script);
    return err;
}

int store_batch_load(struct store_batch *b, struct store_load *loads, size_t n, int64_t *ret_now) {
    if (!b->context)
        return -ENOTCONN;
    int64_t now = 0;
    bool lacks_script = false;
    int err = load_all(b, loads, n, &now, &lacks_script);
    if (!err && lacks_script) {
        lacks_script = false;
        store_queue_scripts(b);
        err = store_take_scripts(b);
        if (!err)
            err = load_all(b, loads, n, &now, &lacks_script);
        if (!err && lacks_script)
            err = store_drop(b, -EIO);
    }
    if (!err)
        *ret_now = now;
    return err;
}
