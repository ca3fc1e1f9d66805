/* See lookup.h. A lookup belongs to its owner and, until it is done, to its thread: whoever lets go
 * last frees it. The lock decides who that is, and publishes the answer. */
#include "common/lookup.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"

struct lookups {
    pthread_mutex_t lock; /* of all below, and of each lookup's states */
    int fd;               /* stays as it is */
    unsigned most, n_running;
    bool is_owned;
};

struct lookup {
    struct lookups *all;
    char *host; /* owned; does not change */
    bool is_done, is_abandoned;
    struct lookup_answer answer; /* the thread's, until it is done */
};

/* ---- in any thread ---- */

static void ask(const char *host, int flags, struct lookup_answer *ret) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found = NULL;
    int err = getaddrinfo(host, NULL, &hints, &found);
    ret->n = 0;
    if (err == EAI_SYSTEM)
        snprintf(ret->why, sizeof(ret->why), "%m");
    else
        snprintf(ret->why, sizeof(ret->why), "%s", err ? gai_strerror(err) : "no address");
    if (err)
        return;
    for (const struct addrinfo *a = found; a && ret->n < LOOKUP_MAX_ADDRESSES; a = a->ai_next)
        if (getnameinfo(a->ai_addr, a->ai_addrlen, ret->addresses[ret->n], LOOKUP_ADDRESS_CAP, NULL,
                        0, NI_NUMERICHOST) == 0)
            ret->n++;
    freeaddrinfo(found);
}

static void free_lookup(struct lookup *lookup) {
    free(lookup->host);
    free(lookup);
}

static void free_all(struct lookups *all) {
    pthread_mutex_destroy(&all->lock);
    if (all->fd >= 0)
        close(all->fd);
    free(all);
}

/* The owner may take the lookup, and free everything, once the lock is given back. */
static void *work(void *arg) {
    static const uint64_t one = 1;
    struct lookup *lookup = arg;
    struct lookups *all = lookup->all;
    ask(lookup->host, 0, &lookup->answer);
    pthread_mutex_lock(&all->lock);
    lookup->is_done = true;
    bool is_mine = lookup->is_abandoned;
    all->n_running--;
    bool is_last = !all->is_owned && all->n_running == 0;
    (void)!write(all->fd, &one, sizeof(one));
    pthread_mutex_unlock(&all->lock);
    if (is_mine)
        free_lookup(lookup);
    if (is_last)
        free_all(all);
    return NULL;
}

/* ---- the owner ---- */

struct lookups *lookups_new(unsigned most) {
    struct lookups *all = must_alloc(sizeof(*all));
    pthread_mutex_init(&all->lock, NULL); /* of the default kind, which cannot fail */
    all->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    all->most = most;
    all->is_owned = true;
    return all;
}

struct lookups *lookups_free(struct lookups *all) {
    if (!all)
        return NULL;
    pthread_mutex_lock(&all->lock);
    all->is_owned = false;
    bool is_last = all->n_running == 0;
    pthread_mutex_unlock(&all->lock);
    if (is_last)
        free_all(all);
    return NULL;
}

int lookups_fd(const struct lookups *all) {
    return all->fd;
}

void lookups_clear(struct lookups *all) {
    uint64_t n;
    (void)!read(all->fd, &n, sizeof(n));
}

/* It blocks all signals: they are for the loop's own (app.c). */
static int start_thread(struct lookup *lookup) {
    sigset_t every, before;
    pthread_t thread;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    int err = pthread_create(&thread, NULL, work, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err == 0)
        pthread_detach(thread);
    return -err;
}

/* One more is at work; false: too many are. */
static bool take_turn(struct lookups *all) {
    pthread_mutex_lock(&all->lock);
    bool may = all->n_running < all->most;
    all->n_running += may;
    pthread_mutex_unlock(&all->lock);
    return may;
}

static void give_turn_back(struct lookups *all) {
    pthread_mutex_lock(&all->lock);
    all->n_running--;
    pthread_mutex_unlock(&all->lock);
}

static int begin_in_thread(struct lookup *lookup) {
    if (!take_turn(lookup->all))
        return -EAGAIN;
    int err = start_thread(lookup);
    if (err)
        give_turn_back(lookup->all);
    return err == -EAGAIN ? -ENOMEM : err;
}

int lookup_begin(struct lookup **ret, struct lookups *all, const char *host) {
    struct lookup *lookup = must_alloc(sizeof(*lookup));
    lookup->all = all;
    lookup->host = must_strdup(host);
    ask(host, AI_NUMERICHOST, &lookup->answer);
    lookup->is_done = lookup->answer.n > 0;
    int err = lookup->is_done ? 0 : begin_in_thread(lookup);
    if (err)
        free_lookup(lookup);
    else
        *ret = lookup;
    return err;
}

static bool is_done(struct lookup *lookup) {
    pthread_mutex_lock(&lookup->all->lock);
    bool done = lookup->is_done;
    pthread_mutex_unlock(&lookup->all->lock);
    return done;
}

int lookup_take(struct lookup **lookup, struct lookup_answer *ret) {
    if (!is_done(*lookup))
        return -EAGAIN;
    *ret = (*lookup)->answer;
    free_lookup(*lookup);
    *lookup = NULL;
    return 0;
}

struct lookup *lookup_abandon(struct lookup *lookup) {
    if (!lookup)
        return NULL;
    pthread_mutex_lock(&lookup->all->lock);
    lookup->is_abandoned = true;
    bool is_mine = lookup->is_done;
    pthread_mutex_unlock(&lookup->all->lock);
    if (is_mine)
        free_lookup(lookup);
    return NULL;
}
