/* Handoff codes in Redis, by the SHA-256 of each (HASH_HEX_LEN digits), and nothing else of it.
 * handoff:{<hash>} is "<session> <owner> <role> <device that offers it> <claimant> <user>
 * <device>", the last three "-" until somebody claimed it; it ends with the code, by its Redis'
 * clock. handoff:{<session>}:codes are the places of a session's live codes,
 * handoff:{<address>}:tries the moments of wrong ones. Each is of one slot of a cluster, so that no
 * script has two of them. What is asked is always answered, later; err as store_read's, and
 * -EBADMSG for an answer that cannot be. docs/decisions/0017. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/uuid.h"
#include "common/store.h"
#include "proto/session.h"

#define STORE_CODES_PER_SESSION 10
#define STORE_CODE_TRIES 10 /* wrong ones of an address in STORE_CODE_TRIES_S */
#define STORE_CODE_TRIES_S 60

struct store_code {
    char session_id[UUID_LEN + 1];
    char owner_id[UUID_LEN + 1];            /* who offers it */
    enum session_role role;                 /* SESSION_ROLE_OWNER: to the owner's own account */
    char device_id[SESSION_DEVICE_MAX + 1]; /* by which it was offered */

    /* Once it is claimed, else "". */
    char claimant[HASH_HEX_LEN + 1];
    char user_id[UUID_LEN + 1]; /* who got in by it */
    char user_device[SESSION_DEVICE_MAX + 1];
};

/* "session owner editor device - - -" and back. -EBADMSG: it is none. */
void store_code_print(const struct store_code *code, struct buf *out);
MUSTCHECK int store_code_parse(const char *text, size_t len, struct store_code *ret);

/* err 0: it is live until `moment` (ms, the store's clock). -EDQUOT: STORE_CODES_PER_SESSION of the
 * session are; after `moment` ms one fewer. */
typedef void store_code_issued_fn(void *arg, int err, int64_t moment);
/* code: what it offers; nobody has claimed it. When Redis did not answer it may be live all the
 * same, and nobody knows it. */
void store_issue_code(struct store *s, const char *hash, const struct store_code *code,
                      int64_t ttl_ms, store_code_issued_fn *done, void *arg);

/* err -ENOENT: there is none. code: borrowed until the callback returns. */
typedef void store_code_fn(void *arg, int err, const struct store_code *code);
void store_find_code(struct store *s, const char *hash, store_code_fn *done, void *arg);

struct store_code_claim { /* borrowed during the call */
    const char *asker;    /* the user, "" for one without a login */
    const char *claimant; /* a hash: who has it may claim the same code again */
    const char *user_id;  /* who gets in; for the owner's account it is the owner */
    const char *device_id;
};
/* err -ENOENT: none, another's, or for another account. Else the code as it is claimed: by this
 * claim, or by the claimant's first one. */
void store_claim_code(struct store *s, const char *hash, const struct store_code_claim *claim,
                      store_code_fn *done, void *arg);
/* The code is used: its place among the session's is free. Nobody waits for it. */
void store_release_code(struct store *s, const char *session_id, const char *hash);

struct store_try {
    int64_t moment;         /* by which store_untry_code knows it; 0: not allowed */
    int64_t retry_after_ms; /* when it is not */
};
typedef void store_try_fn(void *arg, int err, const struct store_try *t);
/* Counts a try of an address (address_print_block) as a wrong one. */
void store_try_code(struct store *s, const char *address, store_try_fn *done, void *arg);
/* It was right, or was none. Nobody waits for it. */
void store_untry_code(struct store *s, const char *address, int64_t moment);
