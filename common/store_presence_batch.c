/* The engine's side of presence; see store_presence.h. What a script may not reach, since it is in
 * another slot (whether an instance lives), is asked before, for all sessions together. */
#include "common/store_presence.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store_device.h"

#define REAP_STEP "1000"
#define N_ORPHANS "1000"

static void begin_presence(struct store_batch *b, struct store_command *c, const char *session_id,
                           const char *operation, int64_t now) {
    store_command_begin(c, "EVALSHA");
    store_puts(c, b->sha[STORE_SCRIPT_PRESENCE]);
    store_put_presence(c, session_id, operation, now);
}

static int error_of(const struct store_batch *b, const redisReply *error) {
    if (store_is_away(b, error))
        return -ENOTCONN;
    return store_is_wrong_type(error) ? -EBADMSG : -EIO;
}

/* ---- many scripts, one pipeline ---- */

static int ask_round(const struct store_round *r, size_t n, bool *open, bool *ret_lacks) {
    _cleanup_(store_command_done) struct store_command c = {0};
    for (size_t i = 0; i < n; i++)
        if (open[i]) {
            r->put(r->arg, i, &c);
            store_send(r->b, &c);
        }
    *ret_lacks = false;
    for (size_t i = 0; i < n; i++) {
        if (!open[i])
            continue;
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        int err = store_next(r->b, &reply);
        if (err)
            return err;
        open[i] = store_is_noscript(reply);
        *ret_lacks |= open[i];
        if (!open[i])
            r->take(r->arg, i, reply);
    }
    return 0;
}

int store_ask_round(const struct store_round *r, size_t n) {
    if (!store_batch_is_connected(r->b))
        return -ENOTCONN;
    _cleanup_(freep) bool *open = must_alloc(n * sizeof(*open));
    for (size_t i = 0; i < n; i++)
        open[i] = true;
    bool lacks = false;
    int err = ask_round(r, n, open, &lacks);
    if (err || !lacks)
        return err;
    err = store_load_scripts(r->b);
    if (!err)
        err = ask_round(r, n, open, &lacks);
    return !err && lacks ? store_drop(r->b, -EIO) : err;
}

/* ---- instances ---- */

struct lives {
    struct store_instance *items;
    size_t n, cap;
};

static void put_life(void *arg, size_t i, struct store_command *c) {
    const struct lives *lives = arg;
    char key[STORE_KEY_CAP];
    store_key_instance(lives->items[i].instance, key);
    store_command_begin(c, "PTTL");
    store_put_name(c, key);
}

/* An answer that is none (refused) says nothing about the instance: it is left alone. */
static void take_life(void *arg, size_t i, const redisReply *reply) {
    struct lives *lives = arg;
    int64_t *left = &lives->items[i].left_ms;
    *left = PRESENCE_INSTANCE_TTL_MS;
    if (reply->type == REDIS_REPLY_INTEGER && reply->integer != -1)
        *left = reply->integer > 0 ? reply->integer : reply->integer == 0;
}

int store_batch_instances(struct store_batch *b, struct store_instance *instances, size_t n) {
    struct lives lives = {.items = instances, .n = n};
    struct store_round r = {b, put_life, take_life, &lives};
    return store_ask_round(&r, n);
}

static void put_arm(struct store_batch *b, struct store_command *c, const redisReply *session,
                    int64_t now) {
    store_command_begin(c, "ZADD");
    store_put_attention(b, c, session->str);
    store_puts(c, "LT");
    store_put_i64(c, now);
    store_put(c, session->str, (size_t)session->len);
}

/* -EIO: one was refused. */
static int arm_all(struct store_batch *b, const redisReply *sessions, int64_t now) {
    _cleanup_(store_command_done) struct store_command c = {0};
    bool refused = false;
    for (size_t i = 0; i < sessions->elements; i++) {
        put_arm(b, &c, sessions->element[i], now);
        store_send(b, &c);
    }
    for (size_t i = 0; i < sessions->elements; i++) {
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        int err = store_next(b, &reply);
        if (err)
            return err;
        refused |= reply->type != REDIS_REPLY_INTEGER;
    }
    return refused ? -EIO : 0;
}

static bool are_texts(const redisReply *list) {
    bool are = list->type == REDIS_REPLY_ARRAY;
    for (size_t i = 0; are && i < list->elements; i++)
        are = list->element[i]->type == REDIS_REPLY_STRING;
    return are;
}

/* Those that could not be armed (memory) stay in the list. */
int store_batch_arm_orphans(struct store_batch *b, const char *instance, int64_t now,
                            size_t *ret_n) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *sessions = NULL, *removed = NULL;
    char key[STORE_KEY_CAP];
    store_key_instance_sessions(instance, key);
    store_command_begin(&c, "SRANDMEMBER");
    store_put_name(&c, key);
    store_puts(&c, N_ORPHANS);
    int err = store_ask(b, &c, &sessions);
    if (!err && !are_texts(sessions))
        err = -EBADMSG;
    if (!err)
        err = arm_all(b, sessions, now);
    if (err)
        return err;
    *ret_n = sessions->elements;
    store_command_begin(&c, "SREM");
    store_put_name(&c, key);
    for (size_t i = 0; i < *ret_n; i++)
        store_put(&c, sessions->element[i]->str, (size_t)sessions->element[i]->len);
    return *ret_n ? store_ask(b, &c, &removed) : 0;
}

/* ---- judging ---- */

struct judging {
    struct store_batch *b;
    struct store_presence *presences;
    size_t n;
    char **instances; /* owned: of each session, ",<instance>,", or NULL */
    bool *is_due;
    size_t *judged; /* indices of those that the script is asked about */
    size_t n_judged;
    struct lives lives;
    int64_t now, lease_until;
};

/* Questions 2i and 2i + 1 are session i's. */
static void put_glance(void *arg, size_t i, struct store_command *c) {
    const struct judging *t = arg;
    const char *session_id = t->presences[i / 2].session_id;
    store_command_begin(c, i % 2 ? "ZRANGE" : "HGET");
    store_put_key(c, i % 2 ? STORE_PRESENCE : STORE_DEVICES, session_id);
    store_puts(c, i % 2 ? "0" : "#instances");
    if (i % 2) {
        store_puts(c, "0");
        store_puts(c, "WITHSCORES");
    }
}

static int64_t moment_of(const redisReply *reply) {
    double at = reply->type == REDIS_REPLY_STRING ? strtod(reply->str, NULL) : 0;
    return at > 0 && at < 9007199254740992.0 ? (int64_t)at : 0;
}

static void take_glance(void *arg, size_t i, const redisReply *reply) {
    struct judging *t = arg;
    struct store_presence *p = &t->presences[i / 2];
    if (reply->type == REDIS_REPLY_ERROR)
        p->err = error_of(t->b, reply);
    else if (i % 2 == 0 && reply->type == REDIS_REPLY_STRING)
        t->instances[i / 2] = must_memdup(reply->str, (size_t)reply->len);
    else if (i % 2 && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
        p->next = moment_of(reply->element[1]);
    t->is_due[i / 2] = p->judges || (p->next && p->next <= t->now);
}

/* The next item of a list ",a,b,", and where the one after it is looked for. False: none. */
static bool next_instance(const char **at, char ret[static STORE_INSTANCE_MAX + 1]) {
    while (*at && **at == ',' && (*at)[1]) {
        size_t len = strcspn(*at + 1, ",");
        bool fits = len && len <= STORE_INSTANCE_MAX && (*at)[1 + len] == ',';
        if (fits)
            store_copy(ret, STORE_INSTANCE_MAX + 1, *at + 1, len);
        *at += 1 + len;
        if (fits)
            return true;
    }
    return false;
}

static struct store_instance *find_life(const struct lives *lives, const char *instance) {
    for (size_t i = 0; i < lives->n; i++)
        if (strcmp(lives->items[i].instance, instance) == 0)
            return &lives->items[i];
    return NULL;
}

static void add_lives(struct lives *lives, const char *list) {
    char instance[STORE_INSTANCE_MAX + 1];
    while (next_instance(&list, instance)) {
        if (find_life(lives, instance))
            continue;
        if (lives->n == lives->cap) {
            lives->cap = lives->cap ? 2 * lives->cap : 8;
            lives->items = must_realloc(lives->items, lives->cap * sizeof(*lives->items));
        }
        lives->items[lives->n] = (struct store_instance){0};
        memcpy(lives->items[lives->n++].instance, instance, sizeof(instance));
    }
}

/* ---- reaping ---- */

/* The devices of one step of HSCAN, as arguments of the script; returns how many. */
static size_t put_reaped(struct store_command *c, const redisReply *fields, const char *instance) {
    size_t n = 0, tail = strlen(instance) + 1;
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        const redisReply *field = fields->element[i];
        size_t len = (size_t)field->len;
        if (len <= tail || field->str[len - tail] != '\n')
            continue;
        store_put(c, field->str, len - tail);
        n++;
    }
    return n;
}

static int scan(const struct judging *t, const char *session_id, const char *instance,
                const char *cursor, redisReply **ret) {
    _cleanup_(store_command_done) struct store_command c = {0};
    char pattern[STORE_INSTANCE_MAX + 3];
    snprintf(pattern, sizeof(pattern), "*\n%s", instance);
    store_command_begin(&c, "HSCAN");
    store_put_key(&c, STORE_DEVICES, session_id);
    store_puts(&c, cursor);
    store_puts(&c, "MATCH");
    store_puts(&c, pattern);
    store_puts(&c, "COUNT");
    store_puts(&c, REAP_STEP);
    int err = store_ask(t->b, &c, ret);
    if (err)
        return err;
    const redisReply *r = *ret;
    return r->type == REDIS_REPLY_ARRAY && r->elements == 2 &&
                   r->element[0]->type == REDIS_REPLY_STRING && are_texts(r->element[1])
               ? 0
               : -EBADMSG;
}

static int reap_step(const struct judging *t, const char *session_id, const char *instance,
                     const redisReply *fields) {
    _cleanup_(store_command_done) struct store_command c = {0};
    _cleanup_(store_reply_freep) redisReply *reply = NULL;
    begin_presence(t->b, &c, session_id, "reap", t->now);
    store_puts(&c, instance);
    return put_reaped(&c, fields, instance) ? store_ask(t->b, &c, &reply) : 0;
}

static int reap(const struct judging *t, const char *session_id, const char *instance) {
    char cursor[32] = "0";
    int err = 0;
    do {
        _cleanup_(store_reply_freep) redisReply *step = NULL;
        err = scan(t, session_id, instance, cursor, &step);
        if (!err)
            err = reap_step(t, session_id, instance, step->element[1]);
        if (!err)
            store_copy(cursor, sizeof(cursor), step->element[0]->str,
                       (size_t)step->element[0]->len);
    } while (!err && strcmp(cursor, "0") != 0);
    return err;
}

/* What is refused is this session's; a lost connection is everybody's. */
static int reap_dead(struct judging *t, size_t i) {
    char instance[STORE_INSTANCE_MAX + 1];
    const char *list = t->instances[i];
    int err = 0;
    while (!err && next_instance(&list, instance)) {
        const struct store_instance *life = find_life(&t->lives, instance);
        if (life && !life->left_ms) {
            err = reap(t, t->presences[i].session_id, instance);
            t->is_due[i] = true;
        }
    }
    if (err)
        t->presences[i].err = err;
    return err && !store_batch_is_connected(t->b) ? err : 0;
}

/* ---- the script ---- */

static void put_judge(void *arg, size_t i, struct store_command *c) {
    const struct judging *t = arg;
    const char *session_id = t->presences[t->judged[i]].session_id;
    begin_presence(t->b, c, session_id, "judge", t->now);
    store_put_u64(c, PRESENCE_MAX_DUE);
    store_put_i64(c, t->lease_until);
    store_puts(c, store_batch_run_id(t->b, session_id));
}

static bool parse_text(const redisReply *reply, uint64_t *ret) {
    return reply->type == REDIS_REPLY_STRING &&
           store_parse_u64(reply->str, (size_t)reply->len, ret) && *ret <= INT64_MAX;
}

static void add_change(struct store_presence *p, const struct store_presence_change *like,
                       enum event_type type, uint64_t moment) {
    if (!moment)
        return;
    struct store_presence_change *change = &p->changes[p->n_changes++];
    *change = *like;
    change->type = type;
    change->moment = (int64_t)moment;
}

/* {device, user, name, platform, moment of a join, moment of a leave}: what happened first, first.
 */
static int take_change(const redisReply *row, uint64_t n_devices, struct store_presence *p) {
    uint64_t joined, left;
    if (!are_texts(row) || row->elements != 6 || !parse_text(row->element[4], &joined) ||
        !parse_text(row->element[5], &left) ||
        !uuid_is(row->element[1]->str, (size_t)row->element[1]->len))
        return -EBADMSG;
    struct store_presence_change c = {.n_devices = n_devices};
    struct {
        char *text;
        size_t cap;
    } fields[] = {{c.device_id, sizeof(c.device_id)},
                  {c.user_id, sizeof(c.user_id)},
                  {c.name, sizeof(c.name)},
                  {c.platform, sizeof(c.platform)}};
    for (size_t i = 0; i < N_ELEMENTS(fields); i++)
        store_copy(fields[i].text, fields[i].cap, row->element[i]->str,
                   (size_t)row->element[i]->len);
    if (left < joined)
        add_change(p, &c, EVENT_DEVICE_LEFT, left);
    add_change(p, &c, EVENT_DEVICE_JOINED, joined);
    if (left >= joined)
        add_change(p, &c, EVENT_DEVICE_LEFT, left);
    return 0;
}

static int take_judgement(const struct store_batch *b, const redisReply *reply,
                          struct store_presence *p) {
    uint64_t next, n_devices;
    if (reply->type == REDIS_REPLY_NIL)
        return -ENOENT;
    if (reply->type == REDIS_REPLY_ERROR)
        return error_of(b, reply);
    if (reply->type == REDIS_REPLY_STRING)
        return -ESTALE;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 5 ||
        !parse_text(reply->element[0], &p->position.version) ||
        !parse_text(reply->element[1], &p->position.epoch) ||
        reply->element[2]->type != REDIS_REPLY_STRING || !parse_text(reply->element[3], &next) ||
        !parse_text(reply->element[4], &n_devices))
        return -EBADMSG;
    store_copy(p->active_device, sizeof(p->active_device), reply->element[2]->str,
               (size_t)reply->element[2]->len);
    p->next = (int64_t)next;
    p->changes = must_alloc(2 * (reply->elements - 5) * sizeof(*p->changes));
    int err = 0;
    for (size_t i = 5; i < reply->elements && !err; i++)
        err = take_change(reply->element[i], n_devices, p);
    return err;
}

static void take_judge(void *arg, size_t i, const redisReply *reply) {
    const struct judging *t = arg;
    struct store_presence *p = &t->presences[t->judged[i]];
    p->next = 0;
    p->err = take_judgement(t->b, reply, p);
}

void store_presence_done(struct store_presence *p) {
    free(p->changes);
    *p = (struct store_presence){0};
}

static int judge_all(struct judging *t) {
    struct store_round glance = {t->b, put_glance, take_glance, t};
    int err = store_ask_round(&glance, 2 * t->n);
    for (size_t i = 0; i < t->n && !err; i++)
        add_lives(&t->lives, t->instances[i]);
    if (!err && t->lives.n)
        err = store_batch_instances(t->b, t->lives.items, t->lives.n);
    for (size_t i = 0; i < t->n && !err; i++)
        err = reap_dead(t, i);
    for (size_t i = 0; i < t->n; i++)
        if (t->is_due[i] && !t->presences[i].err)
            t->judged[t->n_judged++] = i;
    struct store_round judge = {t->b, put_judge, take_judge, t};
    return err ? err : store_ask_round(&judge, t->n_judged);
}

int store_batch_presence(struct store_batch *b, struct store_presence *presences, size_t n,
                         int64_t now, int64_t lease_until) {
    struct judging t = {.b = b,
                        .presences = presences,
                        .n = n,
                        .instances = must_alloc(n * sizeof(char *)),
                        .is_due = must_alloc(n * sizeof(bool)),
                        .judged = must_alloc(n * sizeof(size_t)),
                        .now = now,
                        .lease_until = lease_until};
    int err = judge_all(&t);
    for (size_t i = 0; i < n; i++)
        free(t.instances[i]);
    free(t.instances);
    free(t.is_due);
    free(t.judged);
    free(t.lives.items);
    return err;
}

/* ---- told, touched ---- */

struct notes {
    struct store_batch *b;
    const struct store_presence_told *told;
    const struct store_presence_touch *touches;
    int64_t now;
};

/* A refusal is nobody's concern: what is not noted as told is told again, and the next request of
 * a device touches it again. */
static void take_note(void *arg, size_t i, const redisReply *reply) {
    (void)arg, (void)i, (void)reply;
}

static void put_told(void *arg, size_t i, struct store_command *c) {
    const struct notes *notes = arg;
    const struct store_presence_told *told = &notes->told[i];
    begin_presence(notes->b, c, told->session_id, "told", notes->now);
    store_put_i64(c, told->lease_until);
    store_puts(c, told->device_id);
}

static void put_touch(void *arg, size_t i, struct store_command *c) {
    const struct notes *notes = arg;
    begin_presence(notes->b, c, notes->touches[i].session_id, "touch", notes->now);
    store_puts(c, notes->touches[i].device_id);
}

int store_batch_presence_told(struct store_batch *b, const struct store_presence_told *told,
                              size_t n, int64_t now) {
    struct notes notes = {.b = b, .told = told, .now = now};
    struct store_round r = {b, put_told, take_note, &notes};
    return store_ask_round(&r, n);
}

int store_batch_presence_touch(struct store_batch *b, const struct store_presence_touch *touches,
                               size_t n, int64_t now) {
    struct notes notes = {.b = b, .touches = touches, .now = now};
    struct store_round r = {b, put_touch, take_note, &notes};
    return store_ask_round(&r, n);
}
