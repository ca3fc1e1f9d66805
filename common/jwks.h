/* The public keys of an identity provider (HANDOFF_JWKS_URL): which there are, and when they are to
 * be fetched. No I/O and no clock: jwks_fetch.c has those, and tells it what the time is. Loop
 * thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/jwks_parse.h"

struct jwks;

/* Keys that were fetched are fetched again after refresh_ms. */
struct jwks *jwks_new(int64_t refresh_ms);
struct jwks *jwks_free(struct jwks *j);
DEFINE_CLEANUP(struct jwks *, jwks_free)

/* ---- for who has a token ---- */

/* NULL when there is none such. Borrowed until the next jwks_succeed. */
const struct auth_key *jwks_find(const struct jwks *j, const char *kid);
/* The only key there is; NULL when there is none or no only one. */
const struct auth_key *jwks_only(const struct jwks *j);
size_t jwks_n_keys(const struct jwks *j);
/* False until keys were fetched for the first time. */
bool jwks_is_loaded(const struct jwks *j);
bool jwks_has_id(const struct jwks *j, const uint8_t id[static AUTH_KEY_ID]);
/* How often a key went or became another: what was verified before is to be verified anew. */
uint64_t jwks_n_withdrawals(const struct jwks *j);
/* How often keys that were demanded have come. */
uint64_t jwks_n_demands(const struct jwks *j);
/* jwks_find found nothing: in how many ms it is worth trying again, since the keys are being asked
 * for (for this very miss, at most once a minute), or could not be; 0: the provider does not know
 * such a key, either. */
int64_t jwks_miss(struct jwks *j);

/* ---- for who fetches: now_ms of any clock that never goes back, always the same one ---- */

/* What jwks_miss asks; without it (arg is its own), it answers 0. */
void jwks_on_miss(struct jwks *j, int64_t (*missed)(void *arg), void *arg);
/* jwks_miss at that time. May bring jwks_due_ms forward. */
int64_t jwks_miss_at(struct jwks *j, int64_t now_ms);
/* When to fetch; INT64_MAX while a fetch is under way. */
int64_t jwks_due_ms(const struct jwks *j);
void jwks_begin(struct jwks *j);
/* Fetch at once, and after the fetch that is under way. */
void jwks_demand(struct jwks *j, int64_t now_ms);
/* All keys are replaced by those of *set, which is left without. Returns whether any came, went or
 * changed. */
bool jwks_succeed(struct jwks *j, int64_t now_ms, struct jwks_set *set);
/* The keys stay; tried again after 1, 2, 4 … 60 s. */
void jwks_fail(struct jwks *j, int64_t now_ms);
