/* Keys of an identity provider; see jwks.h and docs/decisions/0019. Whoever makes up kids makes us
 * ask the provider once a minute, and not more; whoever has a token of a new key waits for one
 * fetch. */
#include "common/jwks.h"

#include <string.h>

#include "base/buf.h"

#define MISS_PAUSE_MS 60000 /* at least between two fetches for a kid that is not there */
#define RETRY_LEAST_MS 1000
#define RETRY_MOST_MS 60000
#define WAIT_MS 1000 /* what is told about a fetch under way */

enum jwks_state {
    JWKS_IDLE,     /* -> fetching, at due_ms */
    JWKS_FETCHING, /* -> idle or failing */
    JWKS_FAILING,  /* the last fetch failed -> fetching, at due_ms */
};

struct jwks {
    struct auth_keys keys;
    enum jwks_state state;
    bool is_loaded;
    bool was_missed;    /* missed_ms counts */
    int64_t missed_ms;  /* when a miss last brought a fetch forward */
    int64_t refresh_ms; /* from a success to the next fetch */
    int64_t due_ms;
    unsigned n_failures; /* since the last success */
    uint64_t n_withdrawals;
    bool is_demanded;
    bool answers_demand; /* the fetch under way began after the demand */
    uint64_t n_demands;
    int64_t (*missed)(void *arg);
    void *arg;
};

struct jwks *jwks_new(int64_t refresh_ms) {
    struct jwks *j = must_alloc(sizeof(*j));
    j->refresh_ms = refresh_ms;
    j->due_ms = INT64_MIN;
    return j;
}

struct jwks *jwks_free(struct jwks *j) {
    if (!j)
        return NULL;
    auth_keys_done(&j->keys);
    free(j);
    return NULL;
}

/* ---- keys ---- */

const struct auth_key *jwks_find(const struct jwks *j, const char *kid) {
    return auth_keys_find(&j->keys, kid);
}

const struct auth_key *jwks_only(const struct jwks *j) {
    return auth_keys_find(&j->keys, NULL);
}

size_t jwks_n_keys(const struct jwks *j) {
    return j->keys.n;
}

bool jwks_is_loaded(const struct jwks *j) {
    return j->is_loaded;
}

uint64_t jwks_n_withdrawals(const struct jwks *j) {
    return j->n_withdrawals;
}

uint64_t jwks_n_demands(const struct jwks *j) {
    return j->n_demands;
}

bool jwks_has_id(const struct jwks *j, const uint8_t id[static AUTH_KEY_ID]) {
    return auth_keys_have_id(&j->keys, id);
}

/* Whether every key of `some` is in `all`, as it is. */
static bool is_part_of(const struct auth_keys *some, const struct auth_keys *all) {
    for (size_t i = 0; i < some->n; i++) {
        const struct auth_key *same = auth_keys_find(all, some->keys[i].kid);
        if (!same || strcmp(same->pem, some->keys[i].pem) != 0)
            return false;
    }
    return true;
}

/* ---- when ---- */

void jwks_on_miss(struct jwks *j, int64_t (*missed)(void *arg), void *arg) {
    j->missed = missed;
    j->arg = arg;
}

int64_t jwks_miss(struct jwks *j) {
    return j->missed ? j->missed(j->arg) : 0;
}

int64_t jwks_miss_at(struct jwks *j, int64_t now_ms) {
    if (j->state == JWKS_FAILING)
        return j->due_ms - now_ms > WAIT_MS ? j->due_ms - now_ms : WAIT_MS;
    if (j->state == JWKS_FETCHING || !j->is_loaded || j->due_ms <= now_ms)
        return WAIT_MS;
    if (j->was_missed && now_ms - j->missed_ms < MISS_PAUSE_MS)
        return 0;
    j->was_missed = true;
    j->missed_ms = now_ms;
    j->due_ms = now_ms;
    return WAIT_MS;
}

int64_t jwks_due_ms(const struct jwks *j) {
    return j->state == JWKS_FETCHING ? INT64_MAX : j->due_ms;
}

void jwks_begin(struct jwks *j) {
    j->state = JWKS_FETCHING;
    j->answers_demand = j->is_demanded;
}

void jwks_demand(struct jwks *j, int64_t now_ms) {
    j->is_demanded = true;
    j->due_ms = now_ms;
}

static void settle_demand(struct jwks *j, int64_t now_ms) {
    if (!j->is_demanded)
        return;
    if (!j->answers_demand) {
        j->due_ms = now_ms;
        return;
    }
    j->is_demanded = false;
    j->n_demands++;
}

bool jwks_succeed(struct jwks *j, int64_t now_ms, struct jwks_set *set) {
    struct auth_keys before = j->keys;
    j->keys = set->keys;
    set->keys = (struct auth_keys){0};
    bool has_lost = !is_part_of(&before, &j->keys);
    bool has_changed = has_lost || !is_part_of(&j->keys, &before) || !j->is_loaded;
    j->n_withdrawals += has_lost;
    auth_keys_done(&before);
    j->state = JWKS_IDLE;
    j->is_loaded = true;
    j->n_failures = 0;
    j->due_ms = now_ms + j->refresh_ms;
    settle_demand(j, now_ms);
    return has_changed;
}

void jwks_fail(struct jwks *j, int64_t now_ms) {
    int64_t pause_ms = RETRY_LEAST_MS << (j->n_failures < 6 ? j->n_failures : 6);
    j->state = JWKS_FAILING;
    j->n_failures++;
    j->due_ms = now_ms + (pause_ms < RETRY_MOST_MS ? pause_ms : RETRY_MOST_MS);
}
