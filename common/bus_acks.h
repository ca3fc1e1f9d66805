/* Acknowledgements of one connection, collected until its frames are written: those without a gap
 * before them leave as one (`multiple`), since each costs the broker, and its consumer a write, as
 * much as half a message. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus_acks {
    uint64_t all_to; /* every tag up to it was put */
    uint64_t *new;   /* not put yet */
    size_t n_new, new_cap;
    /* Put, above a tag that is not; ascending, none touches another. As many at most as there are
     * deliveries in hand. */
    struct bus_ack_range {
        uint64_t first, last;
    } * apart;
    size_t n_apart, apart_cap;
};

void bus_acks_done(struct bus_acks *a);
/* Each tag once, in any order. */
void bus_acks_add(struct bus_acks *a, uint64_t tag);
/* Everything up to tag was acknowledged by the caller; nothing may be waiting to be put. */
void bus_acks_skip_to(struct bus_acks *a, uint64_t tag);
/* Hands out what was added, ascending; a `multiple` covers nothing that was not added. */
void bus_acks_put(struct bus_acks *a, void (*put)(void *arg, uint64_t tag, bool multiple),
                  void *arg);
