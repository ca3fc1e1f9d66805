/* Handoff codes; see store_codes.h. */
#include "common/store_codes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/store_link.h"

#define N_WORDS 7

/* ---- what a code is ---- */

static const char *word_or_dash(const char *text) {
    return *text ? text : "-";
}

void store_code_print(const struct store_code *code, struct buf *out) {
    buf_printf(out, "%s %s %s %s %s %s %s", code->session_id, code->owner_id,
               session_role_name(code->role), code->device_id, word_or_dash(code->claimant),
               word_or_dash(code->user_id), word_or_dash(code->user_device));
}

/* How many words there are; more than N_WORDS are not told apart. */
static size_t split(const char *text, size_t len, struct store_text ret[static N_WORDS]) {
    const char *end = text + len;
    for (size_t n = 0; n < N_WORDS; n++) {
        const char *space = memchr(text, ' ', (size_t)(end - text));
        ret[n] = (struct store_text){text, (size_t)((space ? space : end) - text)};
        if (!space)
            return n + 1;
        text = space + 1;
    }
    return N_WORDS + 1;
}

static bool take_role(struct store_text word, enum session_role *ret) {
    static const enum session_role roles[] = {SESSION_ROLE_OWNER, SESSION_ROLE_EDITOR,
                                              SESSION_ROLE_VIEWER};
    for (size_t i = 0; i < N_ELEMENTS(roles); i++) {
        const char *name = session_role_name(roles[i]);
        if (strlen(name) == word.len && memcmp(name, word.text, word.len) == 0) {
            *ret = roles[i];
            return true;
        }
    }
    return false;
}

static bool is_dash(struct store_text word) {
    return word.len == 1 && *word.text == '-';
}

static bool is_claim(const struct store_text *words) {
    if (is_dash(words[0]))
        return is_dash(words[1]) && is_dash(words[2]);
    return hash_is_hex(words[0].text, words[0].len) && uuid_is(words[1].text, words[1].len) &&
           session_device_is_valid(words[2].text, words[2].len);
}

static void copy(char *ret, size_t cap, struct store_text word) {
    store_copy(ret, cap, word.text, is_dash(word) ? 0 : word.len);
}

int store_code_parse(const char *text, size_t len, struct store_code *ret) {
    struct store_text words[N_WORDS];
    struct store_code code = {0};
    if (split(text, len, words) != N_WORDS || !uuid_is(words[0].text, words[0].len) ||
        !uuid_is(words[1].text, words[1].len) || !take_role(words[2], &code.role) ||
        !session_device_is_valid(words[3].text, words[3].len) || !is_claim(words + 4))
        return -EBADMSG;
    copy(code.session_id, sizeof(code.session_id), words[0]);
    copy(code.owner_id, sizeof(code.owner_id), words[1]);
    store_copy(code.device_id, sizeof(code.device_id), words[3].text, words[3].len);
    if (!is_dash(words[4])) {
        copy(code.claimant, sizeof(code.claimant), words[4]);
        copy(code.user_id, sizeof(code.user_id), words[5]);
        store_copy(code.user_device, sizeof(code.user_device), words[6].text, words[6].len);
    }
    *ret = code;
    return 0;
}

/* ---- issuing: a place among the session's first, then the code ---- */

struct issue_ask {
    struct store *store;
    char hash[HASH_HEX_LEN + 1];
    struct buf code; /* as it is stored */
    int64_t ttl_ms;
    store_code_issued_fn *done;
    void *arg;
};

static void put_key(struct store_command *args, const char *who, const char *tail) {
    char key[STORE_KEY_CAP];
    store_key_handoff(who, tail, key);
    store_puts(args, "1");
    store_put_name(args, key);
}

static void finish_issue(struct issue_ask *ask, int err, int64_t moment) {
    ask->done(ask->arg, err, moment);
    buf_done(&ask->code);
    free(ask);
}

static int take_integer(int err, const redisReply *reply, int64_t *ret) {
    if (!err && (reply->type != REDIS_REPLY_INTEGER || reply->integer < 0))
        err = -EBADMSG;
    *ret = err ? 0 : reply->integer;
    return err;
}

static void on_offered(void *arg, int err, const redisReply *reply) {
    int64_t ends_at;
    err = take_integer(err, reply, &ends_at);
    finish_issue(arg, err, ends_at);
}

static void on_reserved(void *arg, int err, const redisReply *reply) {
    struct issue_ask *ask = arg;
    int64_t free_after_ms;
    err = take_integer(err, reply, &free_after_ms);
    if (err || free_after_ms) {
        finish_issue(ask, err ? err : -EDQUOT, free_after_ms);
        return;
    }
    struct store_command args = {0};
    put_key(&args, ask->hash, "");
    store_put(&args, ask->code.data, ask->code.len);
    store_put_i64(&args, ask->ttl_ms);
    store_ask_script(ask->store, STORE_SCRIPT_CODE_OFFER, &args, on_offered, ask);
}

void store_issue_code(struct store *s, const char *hash, const struct store_code *code,
                      int64_t ttl_ms, store_code_issued_fn *done, void *arg) {
    struct store_command args = {0};
    struct issue_ask *ask = must_alloc(sizeof(*ask));
    *ask = (struct issue_ask){.store = s, .ttl_ms = ttl_ms, .done = done, .arg = arg};
    store_copy(ask->hash, sizeof(ask->hash), hash, strlen(hash));
    store_code_print(code, &ask->code);
    put_key(&args, code->session_id, ":codes");
    store_puts(&args, hash);
    store_put_i64(&args, ttl_ms);
    store_put_i64(&args, STORE_CODES_PER_SESSION);
    store_ask_script(s, STORE_SCRIPT_CODE_RESERVE, &args, on_reserved, ask);
}

/* ---- finding and claiming ---- */

struct code_ask {
    struct store_ask ask; /* of a find */
    store_code_fn *done;
    void *arg;
};

static void finish_code(struct code_ask *ask, int err, const redisReply *reply) {
    struct store_code code;
    if (!err && reply->type == REDIS_REPLY_NIL)
        err = -ENOENT;
    else if (!err && reply->type != REDIS_REPLY_STRING)
        err = -EBADMSG;
    if (!err)
        err = store_code_parse(reply->str, reply->len, &code);
    ask->done(ask->arg, err, err ? NULL : &code);
    free(ask);
}

static void on_found(struct store_ask *base, int err, const redisReply *reply) {
    finish_code((struct code_ask *)base, err, reply);
}

static void on_claimed(void *arg, int err, const redisReply *reply) {
    finish_code(arg, err, reply);
}

static struct code_ask *new_code_ask(store_code_fn *done, void *arg) {
    struct code_ask *ask = must_alloc(sizeof(*ask));
    *ask = (struct code_ask){.ask.done = on_found, .done = done, .arg = arg};
    return ask;
}

void store_find_code(struct store *s, const char *hash, store_code_fn *done, void *arg) {
    struct code_ask *ask = new_code_ask(done, arg);
    char key[STORE_KEY_CAP];
    store_key_handoff(hash, "", key);
    store_command_begin(&s->command, "GET");
    store_put_name(&s->command, key);
    store_ask_send(s, &ask->ask);
}

void store_claim_code(struct store *s, const char *hash, const struct store_code_claim *claim,
                      store_code_fn *done, void *arg) {
    struct store_command args = {0};
    put_key(&args, hash, "");
    store_puts(&args, word_or_dash(claim->asker));
    store_puts(&args, claim->claimant);
    store_puts(&args, claim->user_id);
    store_puts(&args, claim->device_id);
    store_ask_script(s, STORE_SCRIPT_CODE_CLAIM, &args, on_claimed, new_code_ask(done, arg));
}

/* What was not given back ends by itself. */
static void on_given_back(void *arg, int err, const redisReply *reply) {
    (void)arg, (void)err, (void)reply;
}

void store_release_code(struct store *s, const char *session_id, const char *hash) {
    struct store_command args = {0};
    put_key(&args, session_id, ":codes");
    store_puts(&args, hash);
    store_ask_script(s, STORE_SCRIPT_CODE_RELEASE, &args, on_given_back, NULL);
}

/* ---- tries ---- */

struct try_ask {
    store_try_fn *done;
    void *arg;
};

static void on_tried(void *arg, int err, const redisReply *reply) {
    struct try_ask *ask = arg;
    struct store_try try = {0};
    if (!err && (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
                 reply->element[0]->type != REDIS_REPLY_INTEGER ||
                 reply->element[1]->type != REDIS_REPLY_INTEGER))
        err = -EBADMSG;
    if (!err)
        try = (struct store_try){reply->element[0]->integer, reply->element[1]->integer};
    ask->done(ask->arg, err, err ? NULL : &try);
    free(ask);
}

void store_try_code(struct store *s, const char *address, store_try_fn *done, void *arg) {
    struct store_command args = {0};
    struct try_ask *ask = must_alloc(sizeof(*ask));
    *ask = (struct try_ask){done, arg};
    put_key(&args, address, ":tries");
    store_put_i64(&args, STORE_CODE_TRIES);
    store_put_i64(&args, STORE_CODE_TRIES_S * INT64_C(1000000));
    store_ask_script(s, STORE_SCRIPT_CODE_TRY, &args, on_tried, ask);
}

void store_untry_code(struct store *s, const char *address, int64_t moment) {
    struct store_command args = {0};
    put_key(&args, address, ":tries");
    store_put_i64(&args, moment);
    store_ask_script(s, STORE_SCRIPT_CODE_UNTRY, &args, on_given_back, NULL);
}
