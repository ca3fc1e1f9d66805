/* Dead letters are consumed without being acknowledged, looked at or acted on, and go back to their
 * place in the queue when the connection ends; acknowledged is only what was dropped, or what the
 * broker has confirmed where it was put back. The first 1000 are looked at; --all goes through as
 * many as there were at the start. Queues come one after another. */
#include "tools/handoff/dead_letters_arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "common/bus.h"
#include "proto/route.h"
#include "tools/handoff/advice.h"
#include "tools/handoff/letter.h"
#include "tools/handoff/progress.h"

#define HELD_MAX 1000
#define HELD_TO_REPLAY 4 /* with --all: as many large ones as the broker takes in one go */
#define PATIENCE_MS 5000 /* to be connected, and between any two answers of the broker */

/* One replayed, until the broker confirms it. */
struct sent {
    uint64_t seq, tag;
};

struct visit {
    const struct dead_letters_arguments *arguments;
    const char *queue, *origin;
    struct progress progress;
    uv_loop_t loop;
    struct bus *bus; /* NULL: ended */
    uv_timer_t patience;
    bool is_up;
    bool *has_head;  /* of the list: once a broker has answered */
    uint64_t n_most; /* held at a time */
    uint64_t n_ready, n_seen, n_done, n_failed;
    struct sent sent[HELD_MAX];
    size_t n_sent;
    char why[320]; /* it could not be done; "": it could */
};

/* ---- The end ---- */

static void end(struct visit *v, const char *why) {
    if (!v->bus)
        return;
    if (why != v->why)
        snprintf(v->why, sizeof(v->why), "%s", why);
    v->bus = bus_free(v->bus);
    uv_close((uv_handle_t *)&v->patience, NULL);
}

static void on_patience(uv_timer_t *timer) {
    struct visit *v = timer->data;
    end(v, v->is_up ? "RabbitMQ answers no more" : v->why[0] ? v->why : "RabbitMQ does not answer");
}

static bool is_through(const struct visit *v) {
    return v->n_seen >= v->n_ready || v->n_seen - v->n_done >= v->n_most;
}

static void on_turn(void *arg) {
    struct visit *v = arg;
    uv_timer_start(&v->patience, on_patience, PATIENCE_MS, 0);
    if (v->arguments->all && v->n_done)
        progress_tell(&v->progress, "%s: %" PRIu64 " of %" PRIu64, v->queue, v->n_done, v->n_ready);
    if (is_through(v) && !v->n_sent)
        end(v, "");
}

/* ---- One letter ---- */

static const char *none_if_empty(const char *text) {
    return text[0] ? text : NULL;
}

static int put_back(struct visit *v, const struct bus_message *m) {
    const struct bus_publish p = {
        .exchange = "",
        .routing_key = v->origin,
        .body = m->body,
        .body_len = m->body_len,
        .persistent = true,
        .message_id = none_if_empty(m->message_id),
        .type = none_if_empty(m->type),
        .timestamp_ms = m->timestamp_ms,
        .epoch = m->epoch,
        .version = m->version,
        .device_id = none_if_empty(m->device_id),
        .command_id = none_if_empty(m->command_id),
        .key_hash = none_if_empty(m->key_hash),
        .fingerprint = none_if_empty(m->fingerprint),
    };
    struct sent *s = &v->sent[v->n_sent];
    s->tag = m->tag;
    int err = m->too_large ? -EMSGSIZE : bus_publish(v->bus, &p, &s->seq);
    v->n_sent += err == 0;
    return err;
}

static void act(struct visit *v, const struct bus_message *m) {
    if (v->arguments->verb == VERB_REPLAY) {
        v->n_failed += put_back(v, m) != 0;
        return;
    }
    if (v->arguments->verb == VERB_SHOW)
        (v->arguments->json ? letter_print_whole_json : letter_print_whole)(v->queue, m, stdout);
    else
        bus_ack(v->bus, bus_generation(v->bus), m->tag, false);
    v->n_done++;
}

/* Of several that are the same, the first one. */
static bool is_wanted(const struct visit *v, const struct bus_message *m) {
    char id[LETTER_ID_LEN + 1];
    if (v->arguments->all)
        return true;
    letter_id(v->queue, m, id);
    return strcmp(id, v->arguments->id) == 0 && !v->n_done && !v->n_sent && !v->n_failed;
}

static void on_message(void *arg, const struct bus_message *m) {
    struct visit *v = arg;
    if (v->n_seen++ >= v->n_ready) /* came later, perhaps back again from a replay */
        return;
    if (v->arguments->verb != VERB_LIST) {
        if (is_wanted(v, m))
            act(v, m);
    } else if (v->arguments->json) {
        letter_print_json(v->queue, m, stdout);
    } else {
        letter_print_line(v->queue, m, stdout);
    }
}

static void on_confirmed(void *arg, uint64_t seq, bool multiple, bool ok) {
    struct visit *v = arg;
    size_t n_left = 0;
    for (size_t i = 0; i < v->n_sent; i++) {
        const struct sent *s = &v->sent[i];
        if (multiple ? s->seq > seq : s->seq != seq) {
            v->sent[n_left++] = *s;
            continue;
        }
        if (ok)
            bus_ack(v->bus, bus_generation(v->bus), s->tag, false);
        *(ok ? &v->n_done : &v->n_failed) += 1;
    }
    v->n_sent = n_left;
}

/* ---- The connection ---- */

static void on_up(void *arg) {
    struct visit *v = arg;
    v->is_up = true;
    if (!*v->has_head)
        letter_print_head(stdout);
    *v->has_head = true;
    v->n_ready = bus_n_ready(v->bus);
    on_turn(v);
}

static void on_connect_failed(void *arg, const char *why) {
    struct visit *v = arg;
    snprintf(v->why, sizeof(v->why), "%s", why);
}

static void on_down(void *arg, const char *why) {
    end(arg, why);
}

static int visit(struct visit *v, const struct config *config) {
    const struct bus_options options = {
        .url = config->amqp_url,
        .quorum_queues = config_wants_quorum(config),
        .connection_name = "handoff dead-letters",
        .confirms = true,
        .queue = v->queue,
        .prefetch = (uint16_t)v->n_most,
        .counts = true,
        .callbacks = {.up = on_up,
                      .down = on_down,
                      .connect_failed = on_connect_failed,
                      .message = on_message,
                      .confirmed = on_confirmed,
                      .turn = on_turn},
        .arg = v,
    };
    uv_loop_init(&v->loop);
    int err = bus_new(&v->bus, &v->loop, &options);
    if (!err) {
        uv_timer_init(&v->loop, &v->patience);
        v->patience.data = v;
        uv_timer_start(&v->patience, on_patience, PATIENCE_MS, 0);
    } else {
        snprintf(v->why, sizeof(v->why), "HANDOFF_AMQP_URL cannot be used");
    }
    uv_run(&v->loop, UV_RUN_DEFAULT);
    uv_loop_close(&v->loop);
    return err;
}

/* ---- What is said at the end ---- */

/* What was put back, or dropped. */
static void tell_done(const struct visit *v) {
    bool is_replay = v->arguments->verb == VERB_REPLAY, is_drop = v->arguments->verb == VERB_DROP;
    if (v->arguments->json && (is_replay || is_drop))
        printf("{\"queue\":\"%s\",\"%s\":%" PRIu64 ",\"failed\":%" PRIu64 "}\n", v->queue,
               is_replay ? "replayed" : "dropped", v->n_done, v->n_failed);
    else if (is_replay && v->n_done)
        printf("%" PRIu64 " put back into %s\n", v->n_done, v->origin);
    else if (is_drop && v->n_done)
        printf("%" PRIu64 " dropped from %s\n", v->n_done, v->queue);
}

static void tell_broken(const struct visit *v) {
    advice_rabbitmq(v->queue, v->why);
    if (v->arguments->verb == VERB_REPLAY || v->arguments->verb == VERB_DROP)
        fputs("handoff: what was not confirmed is still there\n", stderr);
}

/* Whether all was done in this queue. */
static bool tell(struct visit *v) {
    progress_clear(&v->progress);
    if (v->why[0])
        tell_broken(v);
    if (v->n_failed)
        fprintf(stderr,
                "handoff: %s: %" PRIu64 " not taken by the broker; still there. Try again.\n",
                v->queue, v->n_failed);
    tell_done(v);
    bool is_part = !v->why[0] && !v->arguments->all && v->n_seen < v->n_ready;
    if (is_part)
        fprintf(stderr, "handoff: %s: the first %" PRIu64 " of %" PRIu64 " were looked at.\n",
                v->queue, v->n_seen, v->n_ready);
    return !v->why[0] && !v->n_failed;
}

int dead_letters_act(const struct dead_letters_arguments *a, const struct config *config) {
    static const char *const queues[][2] = {{ROUTE_AUDIT_DEAD_QUEUE, ROUTE_AUDIT_QUEUE},
                                            {ROUTE_COMMANDS_DEAD_QUEUE, ROUTE_COMMANDS_QUEUE}};
    bool is_well = true;
    uint64_t n_found = 0;
    bool has_head = a->verb != VERB_LIST || a->json;
    for (size_t i = 0; i < N_ELEMENTS(queues) && is_well && !(a->id && n_found); i++) {
        if (a->queue && strcmp(a->queue, queues[i][0]) != 0)
            continue;
        _cleanup_(freep) struct visit *v = must_alloc(sizeof(*v));
        v->arguments = a;
        v->has_head = &has_head;
        v->progress.is_asked = a->wants_progress;
        v->queue = queues[i][0];
        v->origin = queues[i][1];
        v->n_most = a->verb == VERB_REPLAY && a->all ? HELD_TO_REPLAY : HELD_MAX;
        is_well = visit(v, config) == 0 && tell(v);
        n_found += v->n_done;
    }
    if (is_well && a->id && !n_found) {
        fprintf(stderr, "handoff: there is no letter %s; `handoff dead-letters list` shows all.\n",
                a->id);
        return 1;
    }
    return is_well && fflush(stdout) == 0 ? 0 : 1;
}
