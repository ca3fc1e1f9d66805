/* Replies on their way; see publisher.h. They have a connection of their own: RabbitMQ 3.10 closes
 * the one over which a message for a forged address comes, and events must not pay for it. One
 * message answers what came in one (or in several with the same correlation id), as every RPC
 * client expects it. */
#include <errno.h>
#include <string.h>

#include "base/crash_point.h"
#include "services/state_engine/publisher_private.h"

#define MAX_BODY (1u << 20)     /* a message is not added to beyond it */
#define MAX_WAITING (64u << 20) /* bytes */
#define MAX_WAITING_MESSAGES 4096

static bool is_for(const struct answers *a, const struct delivery *d) {
    return a->body.len < MAX_BODY && strcmp(a->correlation_id, d->correlation_id) == 0 &&
           strcmp(a->reply_to, d->reply_to) == 0;
}

static struct answers *answers_for(struct publisher *p, const struct delivery *d) {
    for (size_t i = p->n_answers; i-- > 0;)
        if (is_for(&p->answers[i], d))
            return &p->answers[i];
    if (p->n_answers == p->cap_answers) {
        p->cap_answers = p->cap_answers ? 2 * p->cap_answers : 16;
        p->answers = must_realloc(p->answers, p->cap_answers * sizeof(*p->answers));
    }
    struct answers *a = &p->answers[p->n_answers++];
    *a = (struct answers){0};
    memcpy(a->reply_to, d->reply_to, sizeof(a->reply_to));
    memcpy(a->correlation_id, d->correlation_id, sizeof(a->correlation_id));
    return a;
}

void publisher_reply(struct publisher *p, const struct delivery *d, struct reply *reply) {
    if (p->n_answers >= MAX_WAITING_MESSAGES || p->n_answer_bytes >= MAX_WAITING) {
        metric_add(p->n_dropped_replies, 1);
    } else if (d->reply_to[0]) {
        struct answers *a = answers_for(p, d);
        size_t len = a->body.len;
        buf_puts(&a->body, len ? "," : "{\"replies\":[");
        reply_print(reply, &a->body);
        p->n_answer_bytes += a->body.len - len;
    }
    reply_done(reply);
}

bool publisher_has_answers(const struct publisher *p) {
    return p->n_answers > 0 && bus_is_up(p->replies) && !bus_is_blocked(p->replies);
}

/* False: not now. */
static bool send_one(struct publisher *p, struct answers *a) {
    size_t len = a->body.len;
    buf_puts(&a->body, "]}");
    struct bus_publish m = {
        .exchange = "",
        .routing_key = a->reply_to,
        .body = a->body.data,
        .body_len = a->body.len,
        .correlation_id = a->correlation_id[0] ? a->correlation_id : NULL,
    };
    int r = bus_publish(p->replies, &m, NULL);
    if (r == 0)
        CRASH_LINK("engine.reply.sent", CRASH_BROKER);
    if (r == -EAGAIN || r == -ENOTCONN)
        a->body.len = len; /* more may join it */
    else if (r != 0)
        metric_add(p->n_dropped_replies, 1);
    return r != -EAGAIN && r != -ENOTCONN;
}

void publisher_send_answers(struct publisher *p) {
    size_t n = 0;
    while (n < p->n_answers && send_one(p, &p->answers[n]))
        n++;
    size_t n_bytes = 0;
    for (size_t i = 0; i < p->n_answers; i++) {
        if (i < n)
            buf_done(&p->answers[i].body);
        else
            n_bytes += p->answers[i].body.len;
    }
    p->n_answers -= n;
    p->n_answer_bytes = n_bytes;
    if (n > 0)
        memmove(p->answers, p->answers + n, p->n_answers * sizeof(*p->answers));
}

/* ---- the connection ---- */

static void on_up(void *arg) {
    struct publisher *p = arg;
    health_report(p->replies_health, p->app->log, true, "");
    publisher_send_answers(p);
    p->callbacks.turn(p->arg); /* it may have been all that a drain waited for */
}

static void on_down(void *arg, const char *why) {
    struct publisher *p = arg;
    health_report(p->replies_health, p->app->log, false, why);
}

static void on_blocked(void *arg, bool blocked) {
    if (!blocked)
        publisher_send_answers(arg);
}

int publisher_open_replies(struct publisher *p) {
    const struct bus_options options = {
        .url = p->app->config->amqp_url,
        .quorum_queues = config_wants_quorum(p->app->config),
        .connection_name = "state_engine reply",
        .callbacks = {.up = on_up,
                      .down = on_down,
                      .connect_failed = on_down,
                      .blocked = on_blocked},
        .arg = p,
    };
    p->replies_health = health_add(p->app->health, "rabbitmq_reply");
    int r = bus_new(&p->replies, p->app->loop, &options);
    if (r == 0)
        bus_follow_url(p->replies, &p->app->config->amqp_url);
    return r;
}

void publisher_drop_answers(struct publisher *p) {
    for (size_t i = 0; i < p->n_answers; i++)
        buf_done(&p->answers[i].body);
    free(p->answers);
}
