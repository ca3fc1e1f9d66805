/* Turns at what must not be done for everybody at once: so many under way, so many of them of one
 * user; the rest waits, and users take their turns one after the other. Nobody's thousandth
 * question stands before another's first. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/table.h"
#include "base/uuid.h"

struct turn_user;

/* Somebody's, while it waits; in the caller's keeping. */
struct turn {
    struct turn *next;
    void (*begin)(void *arg);
    void *arg;
};

struct turns {
    size_t most, most_of_one;
    size_t n_under_way, n_waiting;
    struct table users;             /* of all who have something under way or waiting; owned */
    struct turn_user *first, *last; /* who wait for nothing but a place */
    bool is_closed;
};

/* most_of_one: of one user; both at least 1. */
void turns_init(struct turns *t, size_t most, size_t most_of_one);
/* What waits is forgotten. */
void turns_done(struct turns *t);
/* Calls turn->begin(turn->arg), now or when it is its turn. user_id: of UUID_LEN characters. */
void turns_ask(struct turns *t, const char *user_id, struct turn *turn);
/* What was begun has ended: who waits may begin. */
void turns_end(struct turns *t, const char *user_id);
/* From here on nothing that waits begins. */
void turns_close(struct turns *t);
