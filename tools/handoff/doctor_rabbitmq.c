/* RabbitMQ: each node that the URL names, the topology, and what each service's user may. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/bus_check.h"
#include "proto/route.h"
#include "tools/handoff/doctor_parts.h"

#define ANY_SESSION "00000000-0000-0000-0000-000000000000"

static const char rights_todo[] =
    "is it the user of that service? compose/rabbitmq/definitions.json has its rights (rabbitmqctl "
    "set_permissions)";

/* ---- the nodes ---- */

static void tell_node(struct report *r, const struct bus_check *check, const char *address,
                      int err) {
    if (!err) {
        report_add(r, REPORT_OK, "rabbitmq.reached", "", "", "%s", address);
        return;
    }
    bool is_login = strstr(check->why, "login") != NULL;
    report_add(r, REPORT_FAILED, "rabbitmq.reached", "",
               is_login ? "user, password and vhost of HANDOFF_AMQP_URL: rabbitmqctl list_users, "
                          "list_vhosts, list_permissions"
                        : "is RabbitMQ up, and HANDOFF_AMQP_URL right?",
               "%s: %s", address, check->why);
}

static void tell_version(struct report *r, const struct bus_check *check) {
    bool is_fine =
        strcmp(check->product, "RabbitMQ") == 0 && doctor_is_since(check->version, 3, 10);
    report_add(r, is_fine ? REPORT_OK : REPORT_WARNING, "rabbitmq.version", "",
               is_fine ? "" : "Handoff is made for RabbitMQ 3.10 to 4.x", "%s %s", check->product,
               check->version);
}

/* One connection to the first node that takes it; the others are only looked at. */
static bool connect_to(struct report *r, const struct config *c, bool is_first,
                       struct bus_check *ret) {
    struct bus_url url;
    bool is_up = false;
    if (bus_url_parse(&url, c->amqp_url) < 0) {
        report_add(r, REPORT_FAILED, "rabbitmq.url", c->service_name,
                   "amqp://user:password@host:port/vhost, up to 16 host:port separated by commas, "
                   "no TLS",
                   "HANDOFF_AMQP_URL cannot be used");
        return false;
    }
    for (size_t i = 0; i < url.n_addresses && (is_first || !is_up); i++) {
        struct bus_check check;
        char address[BUS_ADDRESS_CAP];
        bus_address_print(&url.addresses[i], address);
        int err = bus_check_open(&check, c->amqp_url, &url.addresses[i]);
        if (is_first)
            tell_node(r, &check, address, err);
        if (is_first && !err && !is_up)
            tell_version(r, &check);
        if (err || is_up)
            bus_check_close(&check);
        else
            *ret = check;
        is_up |= !err;
    }
    bus_url_done(&url);
    return is_up;
}

/* ---- the topology ---- */

/* The names of what is not there; false: it could not be asked. */
static bool find_missing(struct bus_check *check, struct buf *ret) {
    static const char *const names[] = {ROUTE_UPDATES_EXCHANGE, ROUTE_COMMANDS_EXCHANGE,
                                        ROUTE_COMMANDS_QUEUE,   ROUTE_COMMANDS_DEAD_QUEUE,
                                        ROUTE_AUDIT_QUEUE,      ROUTE_AUDIT_DEAD_QUEUE};
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        enum bus_verdict verdict =
            i < 2 ? bus_check_exchange(check, names[i]) : bus_check_queue(check, names[i]);
        if (verdict == BUS_CHECK_MISSING)
            buf_printf(ret, "%s%s", ret->len ? ", " : "", names[i]);
        else if (verdict != BUS_CHECK_OK)
            return false;
    }
    return true;
}

/* Whether all of it is there. */
static bool look_at_topology(struct report *r, const struct config *c, bool is_first,
                             struct bus_check *check) {
    _cleanup_(buf_done) struct buf missing = BUF_NULL;
    if (!find_missing(check, &missing)) {
        report_add(r, REPORT_FAILED, "rabbitmq.topology", c->service_name,
                   "the broker's log says more", "%s", check->why);
        return false;
    }
    if (missing.len && is_first)
        report_add(r, REPORT_WARNING, "rabbitmq.topology", "",
                   "each service declares it when it connects: start one", "not there: %s",
                   missing.data);
    if (missing.len)
        return false;
    enum bus_verdict verdict = bus_check_topology(check, config_wants_quorum(c));
    report_add(r, verdict == BUS_CHECK_OK ? REPORT_OK : REPORT_FAILED, "rabbitmq.topology",
               c->service_name,
               verdict == BUS_CHECK_OK        ? ""
               : verdict == BUS_CHECK_REFUSED ? rights_todo
                                              : "HANDOFF_QUEUE_TYPE as it was when the queues were "
                                                "made; to change it: docs/how-to/queue-type.md",
               "%s", verdict == BUS_CHECK_OK ? "as it is declared" : check->why);
    return true;
}

/* ---- rights ---- */

struct right {
    unsigned services;
    enum { PUBLISH, CONSUME, OWN_QUEUE, CONSUMERS_QUEUE } kind;
    const char *where; /* exchange or queue */
    enum event_type type;
};

static const struct right rights[] = {
    {CONFIG_SESSION_API | CONFIG_WS_FANOUT, PUBLISH, ROUTE_COMMANDS_EXCHANGE, EVENT_N_TYPES},
    {CONFIG_SESSION_API | CONFIG_WS_FANOUT, PUBLISH, ROUTE_UPDATES_EXCHANGE, EVENT_BROADCAST},
    {CONFIG_WS_FANOUT, OWN_QUEUE, ROUTE_UPDATES_EXCHANGE, EVENT_N_TYPES},
    {CONFIG_STATE_ENGINE, PUBLISH, ROUTE_UPDATES_EXCHANGE, EVENT_STATE_DELTA},
    {CONFIG_STATE_ENGINE | CONFIG_AUDIT_WRITER | CONFIG_CLI, PUBLISH, "", EVENT_N_TYPES},
    {CONFIG_STATE_ENGINE, CONSUME, ROUTE_COMMANDS_QUEUE, EVENT_N_TYPES},
    {CONFIG_AUDIT_WRITER, CONSUME, ROUTE_AUDIT_QUEUE, EVENT_N_TYPES},
    {CONFIG_CLI, CONSUME, ROUTE_COMMANDS_DEAD_QUEUE, EVENT_N_TYPES},
    {CONFIG_CLI, CONSUME, ROUTE_AUDIT_DEAD_QUEUE, EVENT_N_TYPES},
    {CONFIG_CLI, CONSUMERS_QUEUE, ROUTE_UPDATES_EXCHANGE, EVENT_N_TYPES},
};

static enum bus_verdict ask(struct bus_check *check, const struct right *right) {
    char key[ROUTE_KEY_CAP] = ROUTE_COMMANDS_KEY;
    if (right->type < EVENT_N_TYPES)
        route_event_key(ANY_SESSION, right->type, key);
    static char consumers[] = "consumer."; /* as handoff tail has it */
    return right->kind == PUBLISH     ? bus_check_publish(check, right->where, key)
           : right->kind == CONSUME   ? bus_check_consume(check, right->where)
           : right->kind == OWN_QUEUE ? bus_check_own_queue(check, right->where, NULL)
                                      : bus_check_own_queue(check, right->where, consumers);
}

/* A reason begins with what was asked for, which is told already. */
static const char *without_name(const char *why, const char *name) {
    size_t len = strlen(name);
    return len && strncmp(why, name, len) == 0 && strncmp(why + len, ": ", 2) == 0 ? why + len + 2
                                                                                   : why;
}

static void look_at_rights(struct report *r, const struct config *c, struct bus_check *check) {
    static const char *const kinds[] = {[PUBLISH] = "publish to",
                                        [CONSUME] = "consume",
                                        [OWN_QUEUE] = "bind a queue of its own to",
                                        [CONSUMERS_QUEUE] = "bind a queue consumer.… to"};
    size_t n_wrong = 0;
    for (size_t i = 0; i < N_ELEMENTS(rights); i++) {
        if (!(rights[i].services & (unsigned)c->service))
            continue;
        enum bus_verdict verdict = ask(check, &rights[i]);
        if (verdict == BUS_CHECK_OK)
            continue;
        n_wrong++;
        report_add(r, REPORT_FAILED, "rabbitmq.rights", c->service_name,
                   verdict == BUS_CHECK_REFUSED ? rights_todo
                                                : "does a memory or disk alarm block publishers? "
                                                  "rabbitmqctl status; the broker's log says more",
                   "cannot %s %s: %s", kinds[rights[i].kind],
                   *rights[i].where ? rights[i].where : "the default exchange",
                   without_name(check->why, rights[i].where));
    }
    if (!n_wrong)
        report_add(r, REPORT_OK, "rabbitmq.rights", c->service_name, "", "all that it needs");
}

void doctor_rabbitmq(struct report *r, const struct config *c, bool is_first) {
    struct bus_check check;
    if (!connect_to(r, c, is_first, &check))
        return;
    if (look_at_topology(r, c, is_first, &check))
        look_at_rights(r, c, &check);
    bus_check_close(&check);
}
