/* Turns at what must not be done for everybody at once; see turns.h. */
#include "services/session_api/turns.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct turn_user {
    struct table_node node; /* first */
    char id[UUID_LEN];
    size_t n_under_way;
    struct turn *first, *last; /* waiting, in the order they came; borrowed */
    struct turn_user *next;    /* in turns' list, while it is there */
    bool is_listed;
};

void turns_init(struct turns *t, size_t most, size_t most_of_one) {
    *t = (struct turns){.most = most, .most_of_one = most_of_one};
    table_init(&t->users);
}

static void free_user(struct table_node *node) {
    free(node);
}

void turns_done(struct turns *t) {
    table_done(&t->users, free_user);
}

static bool is_user(const struct table_node *node, const void *id) {
    return memcmp(((const struct turn_user *)node)->id, id, UUID_LEN) == 0;
}

static struct turn_user *find(const struct turns *t, const char *id, uint64_t hash) {
    return (struct turn_user *)table_find(&t->users, hash, is_user, id);
}

static struct turn_user *add(struct turns *t, const char *id, uint64_t hash) {
    struct turn_user *user = must_alloc(sizeof(*user));
    memcpy(user->id, id, UUID_LEN);
    table_add(&t->users, &user->node, hash);
    return user;
}

static void forget_idle(struct turns *t, struct turn_user *user) {
    if (user->n_under_way > 0 || user->first)
        return;
    table_remove(&t->users, &user->node);
    free(user);
}

/* At the end of the list, where it waits for a place and may have one. */
static void list(struct turns *t, struct turn_user *user) {
    if (user->is_listed || !user->first || user->n_under_way >= t->most_of_one)
        return;
    user->is_listed = true;
    user->next = NULL;
    if (t->last)
        t->last->next = user;
    else
        t->first = user;
    t->last = user;
}

static struct turn_user *take_first(struct turns *t) {
    struct turn_user *user = t->first;
    t->first = user->next;
    if (!t->first)
        t->last = NULL;
    user->is_listed = false;
    return user;
}

/* What begins may ask and end at once: nothing is held across it. */
static void begin_next(struct turns *t) {
    while (t->first && t->n_under_way < t->most && !t->is_closed) {
        struct turn_user *user = take_first(t);
        struct turn *turn = user->first;
        user->first = turn->next;
        if (!user->first)
            user->last = NULL;
        t->n_waiting--;
        t->n_under_way++;
        user->n_under_way++;
        list(t, user);
        turn->begin(turn->arg);
    }
}

void turns_ask(struct turns *t, const char *user_id, struct turn *turn) {
    uint64_t hash = table_hash(&t->users, user_id, UUID_LEN);
    struct turn_user *user = find(t, user_id, hash);
    if (!user)
        user = add(t, user_id, hash);
    turn->next = NULL;
    if (user->last)
        user->last->next = turn;
    else
        user->first = turn;
    user->last = turn;
    t->n_waiting++;
    list(t, user);
    begin_next(t);
}

void turns_end(struct turns *t, const char *user_id) {
    struct turn_user *user = find(t, user_id, table_hash(&t->users, user_id, UUID_LEN));
    if (!user || user->n_under_way == 0)
        return;
    t->n_under_way--;
    user->n_under_way--;
    list(t, user);
    forget_idle(t, user);
    begin_next(t);
}

void turns_close(struct turns *t) {
    t->is_closed = true;
}
