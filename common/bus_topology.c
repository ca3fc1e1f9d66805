/* The durable topology, which every service declares on each connect: a confirm does not mean
 * routed, so no publisher may be first on a bare broker. Arguments of shared queues are those for
 * type and single active consumer only; all bounds are the broker's policy (contract 5). */
#include <amqp.h>
#include <stdio.h>
#include <string.h>

#include "common/bus_connect.h"
#include "proto/event.h"
#include "proto/route.h"

#define OWN_QUEUE_MAX_BYTES (64 << 20)

static const struct {
    const char *name, *type;
} exchanges[] = {
    {ROUTE_UPDATES_EXCHANGE, "topic"},
    {ROUTE_COMMANDS_EXCHANGE, "direct"},
};

static const struct {
    const char *name;
    bool single_active_consumer;
} queues[] = {
    {ROUTE_COMMANDS_QUEUE, false},
    {ROUTE_COMMANDS_DEAD_QUEUE, false},
    {ROUTE_AUDIT_QUEUE, true},
    {ROUTE_AUDIT_DEAD_QUEUE, false},
};

static bool declare_exchange(struct bus_handshake *h, const char *name, const char *type) {
    if (!bus_handshake_next(h))
        return false;
    amqp_exchange_declare(h->conn, BUS_CHANNEL, amqp_cstring_bytes(name), amqp_cstring_bytes(type),
                          false, true, false, false, amqp_empty_table);
    return bus_handshake_ok(h, name);
}

/* A classic queue is declared without its type, as it always was: the same arguments again. */
static bool declare_queue(struct bus_handshake *h, const char *name, bool single_active_consumer,
                          bool quorum) {
    if (!bus_handshake_next(h))
        return false;
    amqp_table_entry_t entries[2];
    amqp_table_t arguments = {0, entries};
    if (single_active_consumer) {
        amqp_table_entry_t *e = &entries[arguments.num_entries++];
        *e = (amqp_table_entry_t){.key = amqp_cstring_bytes("x-single-active-consumer")};
        e->value.kind = AMQP_FIELD_KIND_BOOLEAN;
        e->value.value.boolean = true;
    }
    if (quorum) {
        amqp_table_entry_t *e = &entries[arguments.num_entries++];
        *e = (amqp_table_entry_t){.key = amqp_cstring_bytes("x-queue-type")};
        e->value.kind = AMQP_FIELD_KIND_UTF8;
        e->value.value.bytes = amqp_cstring_bytes("quorum");
    }
    amqp_queue_declare(h->conn, BUS_CHANNEL, amqp_cstring_bytes(name), false, true, false, false,
                       arguments);
    return bus_handshake_ok(h, name);
}

static bool bind_queue(struct bus_handshake *h, const char *queue, const char *exchange,
                       const char *key) {
    if (!bus_handshake_next(h))
        return false;
    amqp_queue_bind(h->conn, BUS_CHANNEL, amqp_cstring_bytes(queue), amqp_cstring_bytes(exchange),
                    amqp_cstring_bytes(key), amqp_empty_table);
    return bus_handshake_ok(h, queue);
}

static bool is_first_of_kind(enum event_type type) {
    for (int other = 0; other < (int)type; other++)
        if (strcmp(event_kind((enum event_type)other), event_kind(type)) == 0)
            return false;
    return true;
}

static bool bind_audit_queue(struct bus_handshake *h) {
    for (int type = 0; type < EVENT_N_TYPES; type++) {
        if (!event_is_durable((enum event_type)type) || !is_first_of_kind((enum event_type)type))
            continue;
        char key[ROUTE_KEY_CAP];
        route_kind_binding((enum event_type)type, key);
        if (!bind_queue(h, ROUTE_AUDIT_QUEUE, ROUTE_UPDATES_EXCHANGE, key))
            return false;
    }
    return true;
}

bool bus_declare_topology(struct bus_handshake *h, bool quorum) {
    for (size_t i = 0; i < N_ELEMENTS(exchanges); i++)
        if (!declare_exchange(h, exchanges[i].name, exchanges[i].type))
            return false;
    for (size_t i = 0; i < N_ELEMENTS(queues); i++)
        if (!declare_queue(h, queues[i].name, queues[i].single_active_consumer, quorum))
            return false;
    return bind_queue(h, ROUTE_COMMANDS_QUEUE, ROUTE_COMMANDS_EXCHANGE, ROUTE_COMMANDS_KEY) &&
           bind_audit_queue(h);
}

/* ---- the own queue ---- */

static bool declare_bounded_queue(struct bus_handshake *h, const char *name, int64_t max_messages,
                                  const char *dead_exchange,
                                  char ret_name[static BUS_SHORT_TEXT_CAP]) {
    if (!bus_handshake_next(h))
        return false;
    amqp_table_entry_t entries[4] = {{.key = amqp_cstring_bytes("x-max-length-bytes")},
                                     {.key = amqp_cstring_bytes("x-overflow")}};
    amqp_table_t arguments = {2, entries};
    entries[0].value.kind = AMQP_FIELD_KIND_I64;
    entries[0].value.value.i64 = OWN_QUEUE_MAX_BYTES;
    entries[1].value.kind = AMQP_FIELD_KIND_UTF8;
    entries[1].value.value.bytes = amqp_cstring_bytes("drop-head");
    if (max_messages) {
        amqp_table_entry_t *e = &entries[arguments.num_entries++];
        *e = (amqp_table_entry_t){.key = amqp_cstring_bytes("x-max-length")};
        e->value.kind = AMQP_FIELD_KIND_I64;
        e->value.value.i64 = max_messages;
    }
    if (dead_exchange) {
        amqp_table_entry_t *e = &entries[arguments.num_entries++];
        *e = (amqp_table_entry_t){.key = amqp_cstring_bytes("x-dead-letter-exchange")};
        e->value.kind = AMQP_FIELD_KIND_UTF8;
        e->value.value.bytes = amqp_cstring_bytes(dead_exchange);
    }
    const amqp_queue_declare_ok_t *ok = amqp_queue_declare(
        h->conn, BUS_CHANNEL, amqp_cstring_bytes(name), false, false, true, true, arguments);
    if (!bus_handshake_ok(h, "own queue"))
        return false;
    size_t len = ok->queue.len < BUS_SHORT_TEXT_MAX ? ok->queue.len : BUS_SHORT_TEXT_MAX;
    memcpy(ret_name, ok->queue.bytes, len);
    ret_name[len] = '\0';
    return true;
}

/* Where the own queue's drops go: the last one waits there, whoever reads it late. */
static bool declare_drops(struct bus_handshake *h, const char *name) {
    char queue[BUS_SHORT_TEXT_CAP];
    if (!bus_handshake_next(h))
        return false;
    amqp_exchange_declare(h->conn, BUS_CHANNEL, amqp_cstring_bytes(name),
                          amqp_cstring_bytes("fanout"), false, false, true, false,
                          amqp_empty_table);
    if (!bus_handshake_ok(h, name) || !declare_bounded_queue(h, name, 1, NULL, queue) ||
        !bind_queue(h, queue, name, "") || !bus_handshake_next(h))
        return false;
    amqp_basic_consume(h->conn, BUS_CHANNEL, amqp_cstring_bytes(queue),
                       amqp_cstring_bytes(BUS_DROPPED_TAG), false, true, false, amqp_empty_table);
    return bus_handshake_ok(h, queue);
}

bool bus_declare_own_queue(struct bus_handshake *h, const struct bus_target *t,
                           char ret_name[static BUS_SHORT_TEXT_CAP]) {
    char name[BUS_SHORT_TEXT_CAP], drops[BUS_SHORT_TEXT_CAP], uuid[UUID_LEN + 1];
    if (!t->own_prefix)
        return declare_bounded_queue(h, "", 0, NULL, ret_name);
    uuid_v4(uuid); /* the broker may still have that of the connection before */
    snprintf(name, sizeof(name), "%.*s%s", BUS_OWN_PREFIX_MAX, t->own_prefix, uuid);
    snprintf(drops, sizeof(drops), "%.*s%s.dropped", BUS_OWN_PREFIX_MAX, t->own_prefix, uuid);
    return (!t->own_tells_drops || declare_drops(h, drops)) &&
           declare_bounded_queue(h, name, t->own_max_messages, t->own_tells_drops ? drops : NULL,
                                 ret_name);
}
