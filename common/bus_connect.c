/* URL, login and everything that must be answered before a connection is of use. librabbitmq does
 * this synchronously, so it runs in a thread of libuv's pool; the finished connection moves to the
 * loop. */
#include "common/bus_connect.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "proto/route.h"

#define FRAME_MAX 131072
#define CHANNEL_MAX 2047
#define HEARTBEAT_S 5
#define CALL_MS 3000
#define HANDSHAKE_MS 10000

int bus_target_init(struct bus_target *ret, const struct bus_options *options) {
    struct bus_target t = {
        .quorum = options->quorum_queues,
        .is_guest = options->is_guest,
        .prefetch = options->prefetch,
        .no_ack = options->no_ack,
        .counts = options->counts,
        .confirms = options->confirms,
    };
    if (options->connection_name)
        t.connection_name = must_strdup(options->connection_name);
    if (options->queue) {
        t.queue = must_strdup(options->queue);
        t.no_ack |= strcmp(t.queue, ROUTE_REPLY_TO) == 0;
    }
    if (options->own) {
        t.own_prefix = must_strdup(options->own->prefix);
        t.own_max_messages = options->own->max_messages;
        t.own_tells_drops = options->own->tells_drops;
    }
    int r = bus_url_parse(&t.url, options->url);
    if (r < 0 || (t.queue && strlen(t.queue) > BUS_SHORT_TEXT_MAX) ||
        (t.own_prefix && strlen(t.own_prefix) > BUS_OWN_PREFIX_MAX) ||
        (t.connection_name && strlen(t.connection_name) > BUS_SHORT_TEXT_MAX)) {
        bus_target_done(&t);
        return -EINVAL;
    }
    *ret = t;
    return 0;
}

void bus_target_done(struct bus_target *t) {
    bus_url_done(&t->url);
    free(t->connection_name);
    free(t->queue);
    free(t->own_prefix);
    *t = (struct bus_target){0};
}

void bus_link_close(struct bus_link *l) {
    if (l->conn)
        amqp_destroy_connection(l->conn); /* closes the socket, sends nothing */
    *l = (struct bus_link){0};
}

void bus_close_reason(uint32_t method_id, const void *decoded, char ret_why[static BUS_WHY_CAP]) {
    amqp_bytes_t text = {0};
    int code = 0;
    if (method_id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *m = decoded;
        code = m->reply_code;
        text = m->reply_text;
    } else if (method_id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *m = decoded;
        code = m->reply_code;
        text = m->reply_text;
    }
    snprintf(ret_why, BUS_WHY_CAP, "the broker closed: %d %.*s", code, (int)text.len,
             text.len ? (const char *)text.bytes : "");
}

static struct timeval timeval_of_ms(int64_t ms) {
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

static bool fail(struct bus_handshake *h, const char *step, const char *text) {
    snprintf(h->why, BUS_WHY_CAP, "%.60s: %.250s", step, text);
    return false;
}

bool bus_handshake_next(struct bus_handshake *h) {
    amqp_maybe_release_buffers(h->conn); /* the last answer was read */
    if (atomic_load(h->abandoned))
        return fail(h, "connect", "abandoned");
    int64_t left_ms = h->deadline_ms - timestamp_monotonic_ms();
    if (left_ms <= 0)
        return fail(h, "connect", "the whole handshake took too long");
    struct timeval limit = timeval_of_ms(left_ms < CALL_MS ? left_ms : CALL_MS);
    return amqp_set_rpc_timeout(h->conn, &limit) == AMQP_STATUS_OK ||
           fail(h, "connect", "no timeout could be set");
}

static bool judge(struct bus_handshake *h, const char *step, amqp_rpc_reply_t reply) {
    switch (reply.reply_type) {
    case AMQP_RESPONSE_NORMAL:
        return true;
    case AMQP_RESPONSE_SERVER_EXCEPTION: {
        char reason[BUS_WHY_CAP];
        bus_close_reason(reply.reply.id, reply.reply.decoded, reason);
        return fail(h, step, reason);
    }
    case AMQP_RESPONSE_LIBRARY_EXCEPTION:
        return fail(h, step, amqp_error_string2(reply.library_error));
    default:
        return fail(h, step, "the connection ended");
    }
}

bool bus_handshake_ok(struct bus_handshake *h, const char *step) {
    return judge(h, step, amqp_get_rpc_reply(h->conn));
}

static bool open_socket(struct bus_handshake *h, const struct bus_address *address) {
    amqp_socket_t *socket = amqp_tcp_socket_new(h->conn);
    if (!socket)
        return fail(h, "connect", "out of memory");
    struct timeval limit = timeval_of_ms(CALL_MS);
    int status = amqp_socket_open_noblock(socket, address->host, address->port, &limit);
    return status == AMQP_STATUS_OK || fail(h, "connect", amqp_error_string2(status));
}

static amqp_table_entry_t flag_entry(const char *name) {
    amqp_table_entry_t e = {.key = amqp_cstring_bytes(name)};
    e.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    e.value.value.boolean = true;
    return e;
}

static bool login(struct bus_handshake *h, const struct bus_target *t) {
    amqp_table_entry_t capabilities[] = {
        flag_entry("consumer_cancel_notify"), flag_entry("connection.blocked"),
        flag_entry("publisher_confirms"), flag_entry("authentication_failure_close")};
    amqp_table_entry_t entries[2] = {{.key = amqp_cstring_bytes("capabilities")},
                                     {.key = amqp_cstring_bytes("connection_name")}};
    entries[0].value.kind = AMQP_FIELD_KIND_TABLE;
    entries[0].value.value.table = (amqp_table_t){N_ELEMENTS(capabilities), capabilities};
    entries[1].value.kind = AMQP_FIELD_KIND_UTF8;
    entries[1].value.value.bytes = amqp_cstring_bytes(t->connection_name ? t->connection_name : "");
    amqp_table_t properties = {t->connection_name ? 2 : 1, entries};

    struct timeval limit = timeval_of_ms(CALL_MS);
    if (!bus_handshake_next(h))
        return false;
    if (amqp_set_handshake_timeout(h->conn, &limit) != AMQP_STATUS_OK)
        return fail(h, "login", "no timeout could be set");
    return judge(h, "login",
                 amqp_login_with_properties(h->conn, t->url.vhost, CHANNEL_MAX, FRAME_MAX,
                                            HEARTBEAT_S, &properties, AMQP_SASL_METHOD_PLAIN,
                                            t->url.user, t->url.password));
}

/* From here on bus.c sends and expects the heartbeats: librabbitmq's would go between the halves of
 * a frame of ours, and its check makes calls block. Nothing was read past the login's last frame
 * yet, which amqp_tune_connection demands. */
static bool take_over_heartbeats(struct bus_handshake *h, struct bus_link *l) {
    l->heartbeat_ms = (uint64_t)amqp_get_heartbeat(h->conn) * 1000;
    l->frame_max = (size_t)amqp_get_frame_max(h->conn);
    return amqp_tune_connection(h->conn, amqp_get_channel_max(h->conn), (int)l->frame_max, 0) ==
               AMQP_STATUS_OK ||
           fail(h, "login", "out of memory");
}

static bool open_channel(struct bus_handshake *h, const struct bus_target *t) {
    if (!bus_handshake_next(h))
        return false;
    amqp_channel_open(h->conn, BUS_CHANNEL);
    if (!bus_handshake_ok(h, "channel"))
        return false;
    if (!t->confirms)
        return true;
    if (!bus_handshake_next(h))
        return false;
    amqp_confirm_select(h->conn, BUS_CHANNEL);
    return bus_handshake_ok(h, "confirms");
}

static bool limit_prefetch(struct bus_handshake *h, const struct bus_target *t) {
    if (t->no_ack || t->prefetch == 0)
        return true;
    if (!bus_handshake_next(h))
        return false;
    amqp_basic_qos(h->conn, BUS_CHANNEL, 0, t->prefetch, false);
    return bus_handshake_ok(h, "prefetch");
}

static bool count(struct bus_handshake *h, struct bus_link *l) {
    if (!bus_handshake_next(h))
        return false;
    const amqp_queue_declare_ok_t *ok =
        amqp_queue_declare(h->conn, BUS_CHANNEL, amqp_cstring_bytes(l->queue), true, false, false,
                           false, amqp_empty_table);
    if (!bus_handshake_ok(h, l->queue))
        return false;
    l->n_ready = ok->message_count;
    return true;
}

static bool consume(struct bus_handshake *h, const struct bus_target *t, struct bus_link *l) {
    if (!t->queue)
        return true;
    if (!limit_prefetch(h, t))
        return false;
    if (t->queue[0])
        snprintf(l->queue, sizeof(l->queue), "%s", t->queue);
    else if (!bus_declare_own_queue(h, t, l->queue))
        return false;
    if (t->counts && !count(h, l))
        return false;
    if (!bus_handshake_next(h))
        return false;
    const amqp_basic_consume_ok_t *ok =
        amqp_basic_consume(h->conn, BUS_CHANNEL, amqp_cstring_bytes(l->queue), amqp_empty_bytes,
                           false, t->no_ack, false, amqp_empty_table);
    if (!bus_handshake_ok(h, l->queue))
        return false;
    snprintf(l->consumer_tag, sizeof(l->consumer_tag), "%.*s", (int)ok->consumer_tag.len,
             (const char *)ok->consumer_tag.bytes);
    return true;
}

bool bus_handshake_begin(struct bus_handshake *h, const struct bus_target *t,
                         const struct bus_address *address) {
    return open_socket(h, address) && login(h, t);
}

int bus_link_open(struct bus_link *ret, const struct bus_target *t,
                  const struct bus_address *address, const atomic_bool *abandoned,
                  char ret_why[static BUS_WHY_CAP]) {
    struct bus_link l = {.conn = amqp_new_connection()};
    struct bus_handshake h = {l.conn, timestamp_monotonic_ms() + HANDSHAKE_MS, abandoned, ret_why};
    if (!l.conn) {
        fail(&h, "connect", "out of memory");
        return -ENOMEM;
    }
    if (bus_handshake_begin(&h, t, address) && take_over_heartbeats(&h, &l) &&
        open_channel(&h, t) && (t->is_guest || bus_declare_topology(&h, t->quorum)) &&
        consume(&h, t, &l)) {
        *ret = l;
        return 0;
    }
    bus_link_close(&l);
    return -ECONNREFUSED;
}
