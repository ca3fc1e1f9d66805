/* A getaddrinfo of the tests' own. slow.test has no answer until one is given; two.test has two
 * addresses, many.test twenty, none.test none; all others are the C library's. */
#pragma once

#include <dirent.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sem_t slow_answers; /* each lets one question go on */
static atomic_uint slow_n_asked;
static atomic_bool slow_takes_signals; /* a thread that asks does */

static int slow_real(const char *host, const char *service, const struct addrinfo *hints,
                     struct addrinfo **ret) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (__typeof__(real))dlsym(RTLD_NEXT, "getaddrinfo");
    return real(host, service, hints, ret);
}

/* 127.0.0.first, and so on downwards. */
static int slow_count_down(unsigned first, unsigned n, const char *service,
                           const struct addrinfo *hints, struct addrinfo **ret) {
    char host[32];
    snprintf(host, sizeof(host), "127.0.0.%u", first);
    int err = slow_real(host, service, hints, ret);
    return err || n == 1 ? err
                         : slow_count_down(first - 1, n - 1, service, hints, &(*ret)->ai_next);
}

static void slow_wait(void) {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (!sigismember(&blocked, SIGTERM))
        atomic_store(&slow_takes_signals, true);
    atomic_fetch_add(&slow_n_asked, 1);
    while (sem_wait(&slow_answers) != 0)
        ;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret) {
    bool is_name = host && !(hints && hints->ai_flags & AI_NUMERICHOST);
    if (is_name && strcmp(host, "none.test") == 0)
        return EAI_NONAME;
    if (is_name && strcmp(host, "two.test") == 0)
        return slow_count_down(2, 2, service, hints, ret);
    if (is_name && strcmp(host, "many.test") == 0)
        return slow_count_down(20, 20, service, hints, ret);
    if (!is_name || strcmp(host, "slow.test") != 0)
        return slow_real(host, service, hints, ret);
    slow_wait();
    return slow_real("127.0.0.1", service, hints, ret);
}

static inline void slow_give_answers(unsigned n) {
    while (n--)
        sem_post(&slow_answers);
}

static inline unsigned slow_n_tasks(void) {
    unsigned n = 0;
    DIR *folder = opendir("/proc/self/task");
    if (!folder)
        abort();
    for (const struct dirent *e; (e = readdir(folder));)
        n += e->d_name[0] != '.';
    closedir(folder);
    return n;
}

static unsigned slow_n_first; /* threads before any lookup */

static inline void slow_begin(void) {
    sem_init(&slow_answers, 0, 0);
    slow_n_first = slow_n_tasks();
}

static inline unsigned slow_n_threads(void) {
    return slow_n_tasks() - slow_n_first;
}

/* Those that were let go of end by themselves. */
static inline void slow_await_threads(void) {
    while (slow_n_threads() > 0)
        sched_yield();
}
