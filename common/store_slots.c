/* Slots of Redis Cluster; see store_slots.h. */
#include "common/store_slots.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"

/* ---- keys ---- */

/* CRC-16/XMODEM, a bit at a time: a key is short, and one Redis never asks. */
static uint16_t crc16(const char *data, size_t len) {
    uint16_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint16_t)((unsigned char)data[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc;
}

unsigned store_slot_of(const char *key, size_t len) {
    const char *open = len ? memchr(key, '{', len) : NULL;
    const char *end = key + len;
    const char *close = open ? memchr(open + 1, '}', (size_t)(end - open - 1)) : NULL;
    if (close && close > open + 1)
        return crc16(open + 1, (size_t)(close - open - 1)) % STORE_N_SLOTS;
    return crc16(key, len) % STORE_N_SLOTS;
}

/* ---- addresses ---- */

bool store_address_is(const struct store_address *a, const struct store_address *b) {
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

void store_address_print(const struct store_address *a, char ret[static STORE_ADDRESS_CAP]) {
    snprintf(ret, STORE_ADDRESS_CAP, "%s:%d", a->host, a->port);
}

static bool take_port(long long port, struct store_address *ret) {
    ret->port = (int)port;
    return port >= 1 && port <= 65535;
}

/* An unknown host ("", "?" or nil) is the one that was asked. */
static bool take_host(const char *host, size_t len, const struct store_address *asked,
                      struct store_address *ret) {
    bool is_unknown = len == 0 || (len == 1 && *host == '?');
    if (len >= sizeof(ret->host) || memchr(host, '\0', len))
        return false;
    if (is_unknown)
        memcpy(ret->host, asked->host, sizeof(ret->host));
    else
        snprintf(ret->host, sizeof(ret->host), "%.*s", (int)len, host);
    return true;
}

/* ---- CLUSTER SLOTS ---- */

static bool is_slot(const redisReply *r) {
    return r->type == REDIS_REPLY_INTEGER && r->integer >= 0 && r->integer < STORE_N_SLOTS;
}

/* {first, last, {host, port, …}, replicas …} */
static bool take_range(const redisReply *row, const struct store_address *asked,
                       struct store_range *ret) {
    if (row->type != REDIS_REPLY_ARRAY || row->elements < 3 || !is_slot(row->element[0]) ||
        !is_slot(row->element[1]))
        return false;
    ret->first = (unsigned)row->element[0]->integer;
    ret->last = (unsigned)row->element[1]->integer;
    const redisReply *master = row->element[2];
    if (ret->first > ret->last || master->type != REDIS_REPLY_ARRAY || master->elements < 2 ||
        master->element[1]->type != REDIS_REPLY_INTEGER)
        return false;
    const redisReply *host = master->element[0];
    bool is_text = host->type == REDIS_REPLY_STRING;
    if (!is_text && host->type != REDIS_REPLY_NIL)
        return false;
    return take_host(is_text ? host->str : "", is_text ? (size_t)host->len : 0, asked,
                     &ret->master) &&
           take_port(master->element[1]->integer, &ret->master);
}

int store_take_slots(const redisReply *reply, const struct store_address *asked,
                     struct store_range **ret, size_t *ret_n) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 || reply->elements > STORE_N_SLOTS)
        return -EBADMSG;
    struct store_range *ranges = must_alloc(reply->elements * sizeof(*ranges));
    for (size_t i = 0; i < reply->elements; i++)
        if (!take_range(reply->element[i], asked, &ranges[i])) {
            free(ranges);
            return -EBADMSG;
        }
    *ret = ranges;
    *ret_n = reply->elements;
    return 0;
}

/* ---- errors ---- */

static bool begins(const redisReply *error, const char *word) {
    size_t len = strlen(word);
    return error->type == REDIS_REPLY_ERROR && strncmp(error->str, word, len) == 0 &&
           (error->str[len] == ' ' || error->str[len] == '\0');
}

/* "MOVED 3999 127.0.0.1:6381", "ASK 3999 :6381" */
bool store_take_redirect(const redisReply *error, const struct store_address *asked,
                         struct store_redirect *ret) {
    bool is_ask = begins(error, "ASK");
    if (!is_ask && !begins(error, "MOVED"))
        return false;
    const char *at = strchr(error->str, ' ');
    char *end;
    unsigned long slot = at ? strtoul(at + 1, &end, 10) : STORE_N_SLOTS;
    if (slot >= STORE_N_SLOTS || *end != ' ')
        return false;
    const char *host = end + 1, *colon = strrchr(host, ':');
    if (!colon || colon[1] < '0' || colon[1] > '9')
        return false;
    long port = strtol(colon + 1, &end, 10);
    ret->is_ask = is_ask;
    ret->slot = (unsigned)slot;
    return *end == '\0' && take_port(port, &ret->to) &&
           take_host(host, (size_t)(colon - host), asked, &ret->to);
}

bool store_is_gone(const redisReply *reply) {
    return begins(reply, STORE_ERROR_GONE);
}

bool store_is_temporary(const redisReply *reply) {
    static const char *const words[] = {STORE_ERROR_AWAY, STORE_ERROR_GONE, "MOVED",   "ASK",
                                        "TRYAGAIN",       "CLUSTERDOWN",    "LOADING", "MASTERDOWN",
                                        "READONLY"};
    for (size_t i = 0; i < N_ELEMENTS(words); i++)
        if (begins(reply, words[i]))
            return true;
    return false;
}

/* ---- the map ---- */

static unsigned slot_of_attention(unsigned set) {
    char key[STORE_KEY_CAP];
    store_key_attention_slot(set, key);
    return store_slot_of(key, strlen(key));
}

void store_map_clear(struct store_map *m) {
    store_map_set(m, 0, STORE_N_SLOTS - 1, STORE_NOBODY);
}

void store_map_set(struct store_map *m, unsigned first, unsigned last, uint16_t owner) {
    for (unsigned slot = first; slot <= last; slot++)
        m->owners[slot] = owner;
    for (unsigned set = 0; set < STORE_N_ATTENTION; set++)
        m->attention[set] = m->owners[slot_of_attention(set)];
}

bool store_map_is_whole(const struct store_map *m) {
    for (unsigned slot = 0; slot < STORE_N_SLOTS; slot++)
        if (m->owners[slot] == STORE_NOBODY)
            return false;
    return true;
}

/* The hash tag of the member's own keys. */
static unsigned home_slot(const char *member) {
    size_t len = strlen(STORE_INSTANCE_PREFIX);
    const char *tag = strncmp(member, STORE_INSTANCE_PREFIX, len) == 0 ? member + len : member;
    return crc16(tag, strlen(tag)) % STORE_N_SLOTS;
}

unsigned store_map_attention(const struct store_map *m, const char *member) {
    uint8_t digest[20];
    hash_sha1(member, strlen(member), digest);
    unsigned first = digest[0] % STORE_N_ATTENTION;
    uint16_t home = m ? m->owners[home_slot(member)] : STORE_NOBODY;
    for (unsigned i = 0; m && i < STORE_N_ATTENTION; i++) {
        unsigned set = (first + i) % STORE_N_ATTENTION;
        if (home != STORE_NOBODY && m->attention[set] == home)
            return set;
    }
    return first;
}

/* Ends: below 110000 there is a number in every slot. */
unsigned store_map_memory(const struct store_map *m, unsigned slot) {
    char key[STORE_KEY_CAP];
    for (unsigned number = 0;; number++) {
        store_key_memory(number, key);
        if (m->owners[store_slot_of(key, strlen(key))] == m->owners[slot])
            return number;
    }
}

uint64_t store_map_digest(const struct store_map *m, unsigned slot) {
    uint64_t digest = 14695981039346656037u; /* FNV-1a */
    for (unsigned i = 0; i < STORE_N_SLOTS; i++)
        if (m->owners[i] == m->owners[slot])
            digest = (digest ^ i) * 1099511628211u;
    return digest;
}
