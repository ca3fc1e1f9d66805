/* The names of hosts, looked up for who has no loop and must not wait: getaddrinfo takes as long as
 * the name servers do (with one that is silent 5 s a try, several times), and cannot be broken off.
 * So it is called in a thread, which nobody waits for. All functions are for one thread, the
 * owner's. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"

#define LOOKUP_MAX_ADDRESSES 8
#define LOOKUP_ADDRESS_CAP 64 /* of an IPv6 address with its zone */
#define LOOKUP_WHY_CAP 128

struct lookups; /* of one owner */
struct lookup;  /* of one name */

struct lookup_answer {
    char addresses[LOOKUP_MAX_ADDRESSES][LOOKUP_ADDRESS_CAP]; /* numeric; the best one first */
    size_t n;
    char why[LOOKUP_WHY_CAP]; /* n is 0: for the log */
};

/* most: how many threads there may be at a time, with those whose lookup was abandoned. */
struct lookups *lookups_new(unsigned most);
/* After each lookup was taken or abandoned. Threads may still be at work; what they need, the last
 * one frees. */
struct lookups *lookups_free(struct lookups *all);
DEFINE_CLEANUP(struct lookups *, lookups_free)
/* Readable once a lookup has its answer, until lookups_clear. -1 without descriptors: look now and
 * then. */
int lookups_fd(const struct lookups *all);
void lookups_clear(struct lookups *all);

/* *ret is owned. A numeric address needs no thread and has its answer at once. -EAGAIN: too many go
 * on; another negative errno: there is no thread to be had. */
MUSTCHECK int lookup_begin(struct lookup **ret, struct lookups *all, const char *host);
/* 0: *ret is the answer, or why there is none, and *lookup is gone and NULL; -EAGAIN: it goes on.
 */
MUSTCHECK int lookup_take(struct lookup **lookup, struct lookup_answer *ret);
/* Also of NULL. */
struct lookup *lookup_abandon(struct lookup *lookup);
