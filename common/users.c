/* Users and what they have; see users.h. */
#include "common/users.h"

#include <string.h>

#include "base/buf.h"

struct user {
    struct table_node node; /* first */
    char id[UUID_LEN + 1];
    int64_t n;
};

static void free_user(struct table_node *node) {
    free(node);
}

void users_done(struct table *t) {
    table_done(t, free_user);
}

static bool is_user(const struct table_node *node, const void *id) {
    return memcmp(((const struct user *)node)->id, id, UUID_LEN) == 0;
}

static struct user *find(const struct table *t, const char *id, uint64_t hash) {
    return (struct user *)table_find(t, hash, is_user, id);
}

static struct user *add(struct table *t, const char *id, uint64_t hash) {
    struct user *user = must_alloc(sizeof(*user));
    memcpy(user->id, id, UUID_LEN);
    table_add(t, &user->node, hash);
    return user;
}

bool users_enter(struct table *t, const char *user_id, int64_t most) {
    uint64_t hash = table_hash(t, user_id, UUID_LEN);
    struct user *user = find(t, user_id, hash);
    if (user && user->n >= most)
        return false;
    if (!user)
        user = add(t, user_id, hash);
    user->n++;
    return true;
}

void users_leave(struct table *t, const char *user_id) {
    struct user *user = find(t, user_id, table_hash(t, user_id, UUID_LEN));
    if (!user || --user->n > 0)
        return;
    table_remove(t, &user->node);
    free(user);
}
