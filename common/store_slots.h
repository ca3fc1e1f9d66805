/* Redis Cluster as its specification has it: which slot a key is in, who has which slot, and the
 * errors by which a node says that another one has it. Pure; private to store*.c. */
#pragma once

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "common/store.h"

#define STORE_N_SLOTS 16384
#define STORE_NOBODY UINT16_MAX
#define STORE_HOST_CAP 256

/* CRC16 of the key, or of what stands between its first { and the next }, unless that is nothing.
 */
unsigned store_slot_of(const char *key, size_t len);

struct store_address {
    char host[STORE_HOST_CAP];
    int port;
};
bool store_address_is(const struct store_address *a, const struct store_address *b);
#define STORE_ADDRESS_CAP (STORE_HOST_CAP + 8)
void store_address_print(const struct store_address *a, char ret[static STORE_ADDRESS_CAP]);

struct store_range { /* slots first to last have this master */
    unsigned first, last;
    struct store_address master;
};
/* The answer of CLUSTER SLOTS; *ret is owned. asked: who answered, whose host stands where the
 * answer names none. -EBADMSG for what is no such answer, or says that nobody has any slot. */
MUSTCHECK int store_take_slots(const redisReply *reply, const struct store_address *asked,
                               struct store_range **ret, size_t *ret_n);

struct store_redirect {
    bool is_ask; /* for this question alone; else the slot is there from now on */
    unsigned slot;
    struct store_address to;
};
/* Whether an error says MOVED or ASK: the command was not executed. */
bool store_take_redirect(const redisReply *error, const struct store_address *asked,
                         struct store_redirect *ret);

/* Beside Redis' own errors, these stand for answers that a node of a cluster did not give. */
#define STORE_ERROR_AWAY "AWAY" /* never asked: not executed */
#define STORE_ERROR_GONE "GONE" /* asked, and lost before it answered: perhaps executed */
/* Whether it is an error that says nothing about the keys, but that they cannot be had now. */
bool store_is_temporary(const redisReply *reply);
bool store_is_gone(const redisReply *reply);

/* Who has which slot, as numbers that the map's owner gives its nodes. */
struct store_map {
    uint16_t owners[STORE_N_SLOTS];
    uint16_t attention[STORE_N_ATTENTION]; /* owners of attention:{i} */
};
void store_map_clear(struct store_map *m);
void store_map_set(struct store_map *m, unsigned first, unsigned last, uint16_t owner);
bool store_map_is_whole(const struct store_map *m);
/* Which of the attention sets is for a session or an instance: one that its own node has, so that
 * what is armed and what is saved go one way and are lost together; any, when that node has none or
 * there is no cluster (m is NULL). */
unsigned store_map_attention(const struct store_map *m, const char *member);
/* Which of the memories is that of the node that has the slot: the first whose own slot it has. */
unsigned store_map_memory(const struct store_map *m, unsigned slot);
/* Of all slots of the node that has this one. */
uint64_t store_map_digest(const struct store_map *m, unsigned slot);
