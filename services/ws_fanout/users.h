/* How many connections each user has on this instance. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/uuid.h"

struct users {
    struct user **buckets;
    size_t n_buckets; /* a power of two */
    size_t n;
    uint64_t secret[UUID_LEN / 4]; /* users are strangers */
};

void users_init(struct users *t);
/* Frees what is left. */
void users_done(struct users *t);
/* One connection more; false: the user has `most` of them. */
MUSTCHECK bool users_enter(struct users *t, const char *user_id, int64_t most);
/* One less, of a user that entered. */
void users_leave(struct users *t, const char *user_id);
