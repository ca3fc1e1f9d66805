/* See bus_check.h. RabbitMQ judges rights first, then what was given, so that a thing it would
 * refuse anyway (406) tells "you may" from "you may not" (403), and nothing happens either way. */
#include "common/bus_check.h"

#include <amqp.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/bus_connect.h"

#define QUESTION_MS 10000
#define MAX_CHANNELS 2000 /* under what is negotiated; the first one is BUS_CHANNEL */

static const atomic_bool never_abandoned;

static struct bus_handshake begin(struct bus_check *c) {
    c->why[0] = '\0';
    return (struct bus_handshake){c->conn, timestamp_monotonic_ms() + QUESTION_MS, &never_abandoned,
                                  c->why};
}

static void take_property(const amqp_table_t *properties, const char *name, char *ret, size_t cap) {
    for (int i = 0; i < properties->num_entries; i++) {
        const amqp_table_entry_t *e = &properties->entries[i];
        if (e->value.kind == AMQP_FIELD_KIND_UTF8 && e->key.len == strlen(name) &&
            memcmp(e->key.bytes, name, e->key.len) == 0)
            snprintf(ret, cap, "%.*s", (int)e->value.value.bytes.len,
                     (const char *)e->value.value.bytes.bytes);
    }
}

static bool connect_as(struct bus_check *c, const struct bus_options *options,
                       const struct bus_address *address) {
    struct bus_target target;
    struct bus_handshake h = begin(c);
    if (bus_target_init(&target, options) < 0)
        return false;
    bool is_fine = bus_handshake_begin(&h, &target, address);
    bus_target_done(&target);
    return is_fine;
}

int bus_check_open(struct bus_check *ret, const char *url, const struct bus_address *address) {
    const struct bus_options options = {.url = url, .connection_name = "handoff doctor"};
    *ret = (struct bus_check){.conn = amqp_new_connection(), .channel = BUS_CHANNEL};
    if (!ret->conn || !connect_as(ret, &options, address))
        return -ECONNREFUSED;
    const amqp_table_t *properties = amqp_get_server_properties(ret->conn);
    take_property(properties, "version", ret->version, sizeof(ret->version));
    take_property(properties, "product", ret->product, sizeof(ret->product));
    return 0;
}

void bus_check_close(struct bus_check *c) {
    if (c->conn)
        amqp_destroy_connection(c->conn);
    c->conn = NULL;
}

/* ---- questions ---- */

static int code_of(const amqp_rpc_reply_t *reply) {
    if (reply->reply_type != AMQP_RESPONSE_SERVER_EXCEPTION ||
        reply->reply.id != AMQP_CHANNEL_CLOSE_METHOD)
        return 0;
    return ((const amqp_channel_close_t *)reply->reply.decoded)->reply_code;
}

/* What the last call brought; a channel that the broker closed is left to it. */
static enum bus_verdict take_refusal(struct bus_check *c, unsigned channel) {
    const amqp_rpc_reply_t reply = amqp_get_rpc_reply(c->conn);
    int code = code_of(&reply);
    if (code) {
        amqp_channel_close_ok_t close_ok = {.dummy = '\0'};
        amqp_send_method(c->conn, (amqp_channel_t)channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok);
    }
    return code == AMQP_ACCESS_REFUSED ? BUS_CHECK_REFUSED
           : code == AMQP_NOT_FOUND    ? BUS_CHECK_MISSING
                                       : BUS_CHECK_FAILED;
}

/* Of a call that has to go well. */
static enum bus_verdict judge(struct bus_check *c, struct bus_handshake *h, const char *what) {
    return bus_handshake_ok(h, what) ? BUS_CHECK_OK : take_refusal(c, c->channel);
}

/* Of one whose rights were judged when it is refused for the rest of it. */
static enum bus_verdict judge_rights(struct bus_check *c, struct bus_handshake *h,
                                     const char *what) {
    const amqp_rpc_reply_t reply = amqp_get_rpc_reply(c->conn);
    bool is_allowed = code_of(&reply) == AMQP_PRECONDITION_FAILED;
    if (bus_handshake_ok(h, what)) {
        snprintf(c->why, sizeof(c->why), "%s: the broker did not judge it", what);
        return BUS_CHECK_FAILED;
    }
    enum bus_verdict verdict = take_refusal(c, c->channel);
    if (is_allowed)
        c->why[0] = '\0';
    return is_allowed ? BUS_CHECK_OK : verdict;
}

/* On a channel of its own. */
static bool open_channel(struct bus_check *c, struct bus_handshake *h) {
    *h = begin(c);
    if (c->channel == MAX_CHANNELS || !bus_handshake_next(h))
        return false;
    amqp_channel_open(c->conn, (amqp_channel_t)++c->channel);
    return bus_handshake_ok(h, "channel") && bus_handshake_next(h);
}

enum bus_verdict bus_check_exchange(struct bus_check *c, const char *name) {
    struct bus_handshake h;
    if (!open_channel(c, &h))
        return BUS_CHECK_FAILED;
    amqp_exchange_declare(c->conn, (amqp_channel_t)c->channel, amqp_cstring_bytes(name),
                          amqp_cstring_bytes("topic"), true, true, false, false, amqp_empty_table);
    return judge(c, &h, name);
}

enum bus_verdict bus_check_queue(struct bus_check *c, const char *name) {
    struct bus_handshake h;
    if (!open_channel(c, &h))
        return BUS_CHECK_FAILED;
    amqp_queue_declare(c->conn, (amqp_channel_t)c->channel, amqp_cstring_bytes(name), true, false,
                       false, false, amqp_empty_table);
    return judge(c, &h, name);
}

/* A frame's answer comes with that of the next call on its channel. */
static enum bus_verdict ask_after(struct bus_check *c, struct bus_handshake *h, const char *what) {
    if (!bus_handshake_next(h))
        return BUS_CHECK_FAILED;
    amqp_basic_qos(c->conn, (amqp_channel_t)c->channel, 0, 1, false);
    return judge_rights(c, h, what);
}

enum bus_verdict bus_check_publish(struct bus_check *c, const char *exchange,
                                   const char *routing_key) {
    struct bus_handshake h;
    const amqp_basic_properties_t properties = {._flags = AMQP_BASIC_EXPIRATION_FLAG,
                                                .expiration = amqp_cstring_bytes("never")};
    if (!open_channel(c, &h))
        return BUS_CHECK_FAILED;
    int status = amqp_basic_publish(c->conn, (amqp_channel_t)c->channel,
                                    amqp_cstring_bytes(exchange), amqp_cstring_bytes(routing_key),
                                    false, false, &properties, amqp_empty_bytes);
    if (status != AMQP_STATUS_OK) {
        snprintf(c->why, sizeof(c->why), "publish: %s", amqp_error_string2(status));
        return BUS_CHECK_FAILED;
    }
    return ask_after(c, &h, *exchange ? exchange : "the default exchange");
}

enum bus_verdict bus_check_consume(struct bus_check *c, const char *queue) {
    struct bus_handshake h;
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes("x-priority")};
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqp_cstring_bytes("none");
    if (!open_channel(c, &h))
        return BUS_CHECK_FAILED;
    amqp_basic_consume(c->conn, (amqp_channel_t)c->channel, amqp_cstring_bytes(queue),
                       amqp_empty_bytes, false, false, false, (amqp_table_t){1, &entry});
    return judge_rights(c, &h, queue);
}

/* ---- as a service does it: on its channel ---- */

static bool open_services_channel(struct bus_check *c, struct bus_handshake *h) {
    *h = begin(c);
    if (!bus_handshake_next(h))
        return false;
    amqp_channel_open(c->conn, BUS_CHANNEL);
    return bus_handshake_ok(h, "channel");
}

static enum bus_verdict end(struct bus_check *c, bool went_well) {
    if (!went_well)
        return take_refusal(c, BUS_CHANNEL);
    amqp_channel_close(c->conn, BUS_CHANNEL, AMQP_REPLY_SUCCESS);
    return BUS_CHECK_OK;
}

enum bus_verdict bus_check_topology(struct bus_check *c, bool quorum) {
    struct bus_handshake h;
    if (!open_services_channel(c, &h))
        return BUS_CHECK_FAILED;
    return end(c, bus_declare_topology(&h, quorum));
}

static bool have_own_queue(struct bus_handshake *h, const char *exchange, char *prefix) {
    const struct bus_target as_it_does = {.own_prefix = prefix, .own_max_messages = 1};
    char name[BUS_SHORT_TEXT_CAP];
    if (!bus_declare_own_queue(h, &as_it_does, name) || !bus_handshake_next(h))
        return false;
    amqp_queue_bind(h->conn, BUS_CHANNEL, amqp_cstring_bytes(name), amqp_cstring_bytes(exchange),
                    amqp_cstring_bytes("handoff.doctor"), amqp_empty_table);
    if (!bus_handshake_ok(h, exchange) || !bus_handshake_next(h))
        return false;
    amqp_basic_consume(h->conn, BUS_CHANNEL, amqp_cstring_bytes(name), amqp_empty_bytes, false,
                       true, true, amqp_empty_table);
    return bus_handshake_ok(h, "own queue");
}

enum bus_verdict bus_check_own_queue(struct bus_check *c, const char *exchange, char *prefix) {
    struct bus_handshake h;
    if (!open_services_channel(c, &h))
        return BUS_CHECK_FAILED;
    return end(c, have_own_queue(&h, exchange, prefix));
}
