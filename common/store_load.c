/* Loading a batch's sessions: one MULTI each, all in one round trip, so that meta, state, window
 * and idempotency keys of a session are of one moment. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/store_device.h"
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
    for (size_t i = 0; i < l->n_joiners; i++) {
        free(l->joiners[i].record);
        l->joiners[i].record = NULL;
    }
    l->session = (struct session){0};
    l->token[0] = '\0';
}

void store_load_done(struct store_load *l) {
    drop_results(l);
    *l = (struct store_load){0};
}

/* ---- asking ---- */

static void put_hashes(struct store_command *c, const struct store_load *l) {
    for (size_t i = 0; i < l->n_key_hashes; i++)
        store_puts(c, l->key_hashes[i]);
}

static void begin_with_key(struct store_command *c, const char *name, enum store_key key,
                           const struct store_load *l) {
    store_command_begin(c, name);
    store_put_key(c, key, l->session_id);
}

static void queue_joiner(struct store_batch *b, struct store_command *c, const struct store_load *l,
                         const struct store_joiner *joiner) {
    char counter[UUID_LEN + 8];
    snprintf(counter, sizeof(counter), "#user:%s", joiner->user_id);
    begin_with_key(c, "HMGET", STORE_DEVICES, l);
    store_puts(c, joiner->device_id);
    store_puts(c, counter);
    store_puts(c, "#joined");
    store_send_part(b, c);
}

static void queue_multi(struct store_batch *b, struct store_command *c,
                        const struct store_load *l) {
    store_command_begin(c, "MULTI");
    store_send_part(b, c);
    begin_with_key(c, "HGETALL", STORE_META, l);
    store_send_part(b, c);
    if (l->wants_state) {
        begin_with_key(c, "GET", STORE_STATE, l);
        store_send_part(b, c);
    }
    if (l->wants_deltas) {
        begin_with_key(c, "XRANGE", STORE_DELTAS, l);
        store_put_entry_after(c, l->deltas_since);
        store_puts(c, "+");
        store_send_part(b, c);
    }
    if (l->n_key_hashes) {
        begin_with_key(c, "HMGET", STORE_IDEM, l);
        put_hashes(c, l);
        store_send_part(b, c);
    }
    for (size_t i = 0; i < l->n_joiners; i++)
        queue_joiner(b, c, l, &l->joiners[i]);
    store_command_begin(c, "EXEC");
    store_send(b, c);
}

static void queue_script(struct store_batch *b, struct store_command *c,
                         const struct store_load *l) {
    store_begin_read(c, l->session_id, l->wants_state, l->wants_deltas, l->deltas_since);
    put_hashes(c, l);
    store_send(b, c);
}

/* ---- taking answers ---- */

static int take_entry(const redisReply *reply, const char *session_id, struct store_entry *e) {
    struct store_entry_view view;
    int err = store_view_entry(reply, &view);
    if (err)
        return err;
    e->version = view.version;
    e->time = view.time;
    e->trace = view.trace;
    const struct {
        struct store_text text;
        char *ret;
        size_t cap;
    } texts[] = {{view.command_id, e->command_id, sizeof(e->command_id)},
                 {view.snapshot_id, e->snapshot_id, sizeof(e->snapshot_id)},
                 {view.key_hash, e->key_hash, sizeof(e->key_hash)},
                 {view.fingerprint, e->fingerprint, sizeof(e->fingerprint)}};
    for (size_t i = 0; i < N_ELEMENTS(texts) && !err; i++)
        err = store_copy_unpacked(texts[i].ret, texts[i].cap, texts[i].text, session_id);
    if (!err)
        err = store_dup_unpacked(view.event, session_id, &e->event, &e->event_len);
    if (!err && view.extra.text)
        e->extra = must_memdup(view.extra.text, view.extra.len);
    return err;
}

static int take_entries(const redisReply *reply, struct store_load *l) {
    if (reply->type != REDIS_REPLY_ARRAY)
        return -EBADMSG;
    l->entries = must_alloc(reply->elements * sizeof(*l->entries));
    for (size_t i = 0; i < reply->elements; i++) {
        int err = take_entry(reply->element[i], l->session_id, &l->entries[l->n_entries++]);
        if (err)
            return err;
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

/* '<time> <fingerprint> <version> <epoch> <checksum>', as store_print_idem writes it. */
static int take_idem(const redisReply *reply, int64_t now, struct store_idem *ret) {
    if (reply->type == REDIS_REPLY_NIL)
        return 0;
    if (reply->type != REDIS_REPLY_STRING)
        return -EBADMSG;
    struct store_text rest = {reply->str, (size_t)reply->len};
    struct store_text time = next_word(&rest), fingerprint = next_word(&rest);
    struct store_text version = next_word(&rest), epoch = next_word(&rest);
    uint64_t then;
    if (!store_parse_u64(time.text, time.len, &then) || then > INT64_MAX ||
        (fingerprint.len && fingerprint.len != HASH_HEX_LEN) ||
        !store_parse_u64(version.text, version.len, &ret->position.version) ||
        !store_parse_u64(epoch.text, epoch.len, &ret->position.epoch) || rest.len > HASH_HEX_LEN)
        return -EBADMSG;
    store_copy(ret->fingerprint, sizeof(ret->fingerprint), fingerprint.text, fingerprint.len);
    store_copy(ret->checksum, sizeof(ret->checksum), rest.text, rest.len);
    ret->time = (int64_t)then;
    ret->found = now - ret->time < KEY_LIFETIME_MS;
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

static uint64_t count_of(const redisReply *reply) {
    uint64_t n = 0;
    if (reply->type == REDIS_REPLY_STRING && store_parse_u64(reply->str, (size_t)reply->len, &n))
        return n;
    return 0;
}

/* A record that cannot be read is as good as none, as in presence.lua. */
static int take_joiner(const redisReply *reply, struct store_joiner *j) {
    struct store_device_record d = {0};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return -EBADMSG;
    const redisReply *record = reply->element[0];
    bool is_there = record->type == REDIS_REPLY_STRING;
    free(j->record);
    j->record = is_there ? must_memdup(record->str, (size_t)record->len) : must_strdup("");
    if (is_there && store_device_parse(record->str, (size_t)record->len, &d) != 0)
        d = (struct store_device_record){0};
    j->is_counted = *d.user_id && d.state != STORE_DEVICE_LEFT;
    j->has_joined = *d.user_id && d.state == STORE_DEVICE_JOINED;
    j->moment = (int64_t)d.moment;
    memcpy(j->name, d.name, sizeof(j->name));
    memcpy(j->platform, d.platform, sizeof(j->platform));
    j->n_of_user = count_of(reply->element[1]);
    j->n_joined = count_of(reply->element[2]);
    return 0;
}

/* read.lua does not tell of devices: it is for when Redis takes no writes, and so no joins. */
static int take_joiners(redisReply *const *parts, bool by_script, struct store_load *l) {
    int err = 0;
    for (size_t i = 0; i < l->n_joiners && !err; i++) {
        if (!by_script)
            err = take_joiner(parts[i], &l->joiners[i]);
        else if (!l->joiners[i].record)
            l->joiners[i].record = must_strdup("");
    }
    return err;
}

static void take_token(const redisReply *meta, char ret[static STORE_TOKEN_CAP]) {
    for (size_t i = 0; i + 1 < meta->elements; i += 2) {
        const redisReply *field = meta->element[i], *value = meta->element[i + 1];
        if (strcmp(field->str, "token") == 0 && (size_t)value->len < STORE_TOKEN_CAP)
            store_copy(ret, STORE_TOKEN_CAP, value->str, (size_t)value->len);
    }
}

/* EXEC answers what was asked; read.lua always all four, nil where nothing was asked. */
static int take_parts(const redisReply *reply, bool by_script, int64_t now, struct store_load *l) {
    redisReply *const *part = reply->element;
    const redisReply *meta = *part++, *state = NULL, *deltas = NULL, *idems = NULL;
    if (l->wants_state)
        state = *part;
    part += l->wants_state || by_script;
    if (l->wants_deltas)
        deltas = *part;
    part += l->wants_deltas || by_script;
    if (l->n_key_hashes)
        idems = *part;
    part += l->n_key_hashes > 0;
    int err = store_take_session(meta, state, l->session_id, &l->session);
    if (!err)
        take_token(meta, l->token);
    if (!err && deltas)
        err = take_entries(deltas, l);
    if (!err && idems)
        err = take_idems(idems, now, l);
    return err ? err : take_joiners(part, by_script, l);
}

static size_t n_parts(const struct store_load *l, bool by_script) {
    size_t n_asked = 1 + l->wants_state + l->wants_deltas + (l->n_key_hashes > 0) + l->n_joiners;
    return by_script ? 4 : n_asked;
}

static int take_load(struct store_batch *b, bool by_script, int64_t now, struct store_load *l,
                     bool *refused) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = store_next(b, &reply);
    if (err)
        return err;
    drop_results(l);
    l->idems = must_alloc(l->n_key_hashes * sizeof(*l->idems));
    if (store_is_away(b, reply))
        l->err = -ENOTCONN;
    else if (reply->type == REDIS_REPLY_ARRAY && reply->elements == n_parts(l, by_script))
        l->err = take_parts(reply, by_script, now, l);
    else
        *refused = true;
    return 0;
}

/* ---- the clock ---- */

/* A cluster's nodes have a clock each: one of them is everybody's, and our own goes on with it
 * while it is away. */
static bool queue_time(struct store_batch *b) {
    _cleanup_(store_command_done) struct store_command c = {0};
    struct store_node *node = store_clock_node(b);
    if (!node || node->state != STORE_NODE_UP)
        return false;
    store_command_begin(&c, "TIME");
    store_send_to(b, node, &c);
    return true;
}

static int take_now(struct store_batch *b, bool is_asked) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    int err = is_asked ? store_next(b, &reply) : 0;
    if (err)
        return err;
    int64_t now, here = b->url.is_cluster ? b->pipe.heard_ms : timestamp_monotonic_ms();
    if (is_asked && !store_is_away(b, reply)) {
        if (!store_take_time(reply, &now))
            return store_drop(b, -EIO);
        b->time_offset = now - here;
        b->has_time = true;
    }
    if (!b->has_time)
        b->time_offset = timestamp_wall_ms() - timestamp_monotonic_ms();
    return 0;
}

/* ---- who has which slot ---- */

static bool queue_slots(struct store_batch *b) {
    _cleanup_(store_command_done) struct store_command c = {0};
    struct store_node *node = store_cluster_adviser(b);
    if (!node)
        return false;
    store_command_begin(&c, "CLUSTER");
    store_puts(&c, "SLOTS");
    store_send_to(b, node, &c);
    return true;
}

static int take_slots(struct store_batch *b, bool is_asked) {
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    if (!is_asked)
        return 0;
    int err = store_next(b, &reply);
    if (!err && b->pipe.answered)
        (void)store_cluster_note(b, b->pipe.answered, reply);
    return err;
}

/* ---- all ---- */

static int load_all(struct store_batch *b, bool by_script, struct store_load *loads, size_t n,
                    bool *ret_refused) {
    struct store_command c = {0};
    bool asks_time = queue_time(b), asks_slots = queue_slots(b);
    for (size_t i = 0; i < n; i++)
        (by_script ? queue_script : queue_multi)(b, &c, &loads[i]);
    store_command_done(&c);
    *ret_refused = false;
    int err = take_now(b, asks_time);
    if (!err)
        err = take_slots(b, asks_slots);
    int64_t now = timestamp_monotonic_ms() + b->time_offset;
    for (size_t i = 0; i < n && !err; i++)
        err = take_load(b, by_script, now, &loads[i], ret_refused);
    return err;
}

/* Out of memory, Redis queues no command, not even a read; a script may read on (read.lua). When
 * that is refused too (loading, access) there is no answer about any session: the whole load is
 * void. */
int store_batch_load(struct store_batch *b, struct store_load *loads, size_t n, int64_t *ret_now) {
    if (b->url.is_cluster)
        store_cluster_tend(b);
    if (!store_batch_is_connected(b))
        return -ENOTCONN;
    bool refused = false;
    int err = load_all(b, false, loads, n, &refused);
    if (!err && refused)
        err = load_all(b, true, loads, n, &refused);
    if (!err && refused)
        err = store_drop(b, -EIO);
    if (!err)
        *ret_now = timestamp_monotonic_ms() + b->time_offset;
    return err;
}
