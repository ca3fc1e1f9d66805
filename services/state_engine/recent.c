/* Copies of sessions; see recent.h. A table of chains by the ids' last digits, which are random,
 * and one list of all in the order of their use. */
#include "services/state_engine/recent.h"

#include <string.h>

#include "base/buf.h"

#define N_CHAINS 8192    /* a power of two */
#define LARGEST_SHARE 16 /* of the bound */
/* A lost save costs about as much as a load: with a fifth of them lost copies are not worth it. */
#define DISTRUST_LOST 4
#define DISTRUST_MOST 256
#define DISTRUST_FROM 128

struct kept {
    struct kept *next;          /* of the chain */
    struct kept *newer, *older; /* of all */
    struct session session;     /* owned */
    char token[STORE_TOKEN_CAP];
    size_t bytes;
};

struct recent {
    struct kept **chains; /* owned */
    struct kept *newest, *oldest;
    size_t max_bytes, bytes, n;
    uint64_t n_losses;
    uint64_t n_hits, n_misses;
    int distrust;
    unsigned n_asked;
};

struct recent *recent_new(size_t max_bytes) {
    struct recent *r = must_alloc(sizeof(*r));
    r->max_bytes = max_bytes;
    r->chains = must_alloc(N_CHAINS * sizeof(struct kept *));
    return r;
}

static struct kept **chain_of(const struct recent *r, const char *session_id) {
    return &r->chains[strtoull(session_id + 24, NULL, 16) & (N_CHAINS - 1)];
}

/* Where the chain points to it; to NULL without. */
static struct kept **find(const struct recent *r, const char *session_id) {
    struct kept **link = chain_of(r, session_id);
    while (*link && memcmp((*link)->session.id, session_id, UUID_LEN) != 0)
        link = &(*link)->next;
    return link;
}

static void drop(struct recent *r, struct kept **link) {
    struct kept *k = *link;
    if (!k)
        return;
    *link = k->next;
    *(k->newer ? &k->newer->older : &r->newest) = k->older;
    *(k->older ? &k->older->newer : &r->oldest) = k->newer;
    r->bytes -= k->bytes;
    r->n--;
    session_done(&k->session);
    free(k);
}

static void drop_oldest(struct recent *r) {
    drop(r, find(r, r->oldest->session.id));
}

struct recent *recent_free(struct recent *r) {
    if (!r)
        return NULL;
    while (r->oldest)
        drop_oldest(r);
    free(r->chains);
    free(r);
    return NULL;
}

void recent_note(struct recent *r, bool is_lost) {
    r->distrust += is_lost ? DISTRUST_LOST : -1;
    r->distrust = r->distrust < 0 ? 0 : r->distrust;
    r->distrust = r->distrust > DISTRUST_MOST ? DISTRUST_MOST : r->distrust;
}

static bool is_worth_a_try(struct recent *r) {
    return r->distrust < DISTRUST_FROM || ++r->n_asked % RECENT_PROBE_EVERY == 0;
}

bool recent_take(struct recent *r, const char *session_id, const char *run_id, struct session *ret,
                 char ret_token[static STORE_TOKEN_CAP]) {
    struct kept **link = find(r, session_id);
    if (!*link)
        return false;
    bool is_given = strcmp((*link)->session.run_id, run_id) == 0 && is_worth_a_try(r);
    if (is_given) {
        *ret = (*link)->session;
        memcpy(ret_token, (*link)->token, STORE_TOKEN_CAP);
        (*link)->session = (struct session){0};
    }
    drop(r, link);
    return is_given;
}

static size_t length(const char *text) {
    return text ? strlen(text) + 1 : 0;
}

static size_t bytes_of(const struct session *s) {
    return sizeof(struct kept) + length(s->name) + s->data_len + s->clock_len +
           length(s->participants) + length(s->removed_devices);
}

static void add(struct recent *r, struct session *s, const char *token, size_t bytes) {
    struct kept *k = must_alloc(sizeof(*k)), **chain = chain_of(r, s->id);
    k->session = *s;
    *s = (struct session){0};
    memcpy(k->token, token, strlen(token) + 1);
    k->bytes = bytes;
    k->next = *chain;
    *chain = k;
    k->older = r->newest;
    *(k->older ? &k->older->newer : &r->oldest) = k;
    r->newest = k;
    r->bytes += bytes;
    r->n++;
}

void recent_put(struct recent *r, struct session *s, const char *token) {
    size_t bytes = bytes_of(s);
    struct kept **link = find(r, s->id);
    if (*link)
        drop(r, link);
    if (s->deleted || !*token || strlen(token) >= STORE_TOKEN_CAP ||
        bytes > r->max_bytes / LARGEST_SHARE) {
        session_done(s);
        *s = (struct session){0};
        return;
    }
    while (r->bytes + bytes > r->max_bytes)
        drop_oldest(r);
    add(r, s, token, bytes);
}

void recent_check(struct recent *r, uint64_t n_losses) {
    while (r->n_losses != n_losses && r->oldest)
        drop_oldest(r);
    r->n_losses = n_losses;
}

void recent_count(struct recent *r, bool is_hit) {
    ++*(is_hit ? &r->n_hits : &r->n_misses);
}

void recent_counted(struct recent *r, uint64_t *ret_hits, uint64_t *ret_misses) {
    *ret_hits = r->n_hits;
    *ret_misses = r->n_misses;
    r->n_hits = r->n_misses = 0;
}

size_t recent_n(const struct recent *r) {
    return r->n;
}

size_t recent_bytes(const struct recent *r) {
    return r->bytes;
}
