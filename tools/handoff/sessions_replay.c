/* `handoff sessions replay`: the audit trail of a session, published again where the operator says,
 * for a consumer that was away longer than its queue reaches. Page after page: the next one is read
 * when the broker has confirmed the last. What went wrong ends it, and where to go on is told. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/bus.h"
#include "proto/route.h"
#include "tools/handoff/advice.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/progress.h"
#include "tools/handoff/sessions.h"
#include "tools/handoff/shown.h"
#include "tools/handoff/trail.h"

#define CONNECT_MS 10000
#define HURRY_MS 1000
#define CONFIRM_MS 10000

struct replay {
    const char *exchange, *queue; /* one of them is NULL */
    struct trail trail;
    struct backends backends;
    struct bus *bus;
    bool is_up, is_over; /* over: the connection is lost, or was never made */
    bool has_turned;
    uint64_t n_sent;          /* the broker's number of the last one */
    uint64_t n_settled, open; /* all up to here are, of the 64 after it those without a bit */
    uint64_t n_confirmed;
    uint64_t n_returned, n_refused;
    struct position done;    /* confirmed up to here */
    struct position version; /* of the last version that was read */
    uint64_t n_missing;      /* versions that the trail does not have */
    struct progress progress;
    bool json;
    char why[320];
};

/* ---- the broker ---- */

static void on_up(void *arg) {
    struct replay *r = arg;
    r->is_up = true;
    r->has_turned = true;
}

static void on_down(void *arg, const char *why) {
    struct replay *r = arg;
    snprintf(r->why, sizeof(r->why), "%s", why);
    r->is_over = r->has_turned = true;
}

static void on_connect_failed(void *arg, const char *why) {
    struct replay *r = arg;
    snprintf(r->why, sizeof(r->why), "%s", why);
}

static void on_confirmed(void *arg, uint64_t seq, bool multiple, bool ok) {
    struct replay *r = arg;
    for (uint64_t i = 0; i < 64; i++) {
        uint64_t bit = 1ULL << i, at = r->n_settled + 1 + i;
        if (!(r->open & bit) || (multiple ? at > seq : at != seq))
            continue;
        r->open &= ~bit;
        *(ok ? &r->n_confirmed : &r->n_refused) += 1;
    }
    r->has_turned = true;
}

static void on_returned(void *arg) {
    struct replay *r = arg;
    r->n_returned++;
}

static void on_turn(void *arg) {
    struct replay *r = arg;
    r->has_turned = true;
}

static bool turn(struct replay *r, uint64_t most_ms) {
    r->has_turned = r->is_over;
    return backends_wait(&r->backends, &r->has_turned, most_ms) && !r->is_over;
}

static int connect_broker(struct replay *r, const struct config *config) {
    const struct bus_options options = {
        .url = config->amqp_url,
        .is_guest = true,
        .connection_name = "handoff sessions replay",
        .confirms = true,
        .callbacks = {.up = on_up,
                      .down = on_down,
                      .connect_failed = on_connect_failed,
                      .confirmed = on_confirmed,
                      .returned = on_returned,
                      .turn = on_turn},
        .arg = r,
    };
    if (bus_new(&r->bus, &r->backends.loop, &options)) {
        fprintf(stderr, "handoff: HANDOFF_AMQP_URL cannot be used\n");
        return 2;
    }
    for (uint64_t waited_ms = 0; !r->is_up && waited_ms < CONNECT_MS; waited_ms += HURRY_MS)
        if (!turn(r, HURRY_MS) && r->why[0])
            break;
    if (r->is_up)
        return 0;
    const char *why = r->why[0] ? r->why : "it does not answer";
    advice_rabbitmq("RabbitMQ", why);
    return 1;
}

/* ---- publishing ---- */

static int publish(struct replay *r, const struct trail_event *e) {
    char key[ROUTE_KEY_CAP];
    enum event_type type;
    if (!event_type_parse(e->type, strlen(e->type), &type)) {
        snprintf(r->why, sizeof(r->why), "a later version of Handoff wrote a %.50s", e->type);
        return -EINVAL;
    }
    route_event_key(r->trail.session_id, type, key);
    const struct bus_publish p = {
        .exchange = r->queue ? "" : r->exchange,
        .routing_key = r->queue ? r->queue : key,
        .body = e->body,
        .body_len = e->body_len,
        .persistent = true,
        .message_id = e->message_id,
        .type = e->type,
        .timestamp_ms = e->moment,
        .epoch = e->position.epoch,
        .version = e->position.version,
        .device_id = e->device_id,
        .command_id = e->command_id,
        .key_hash = e->key_hash,
        .fingerprint = e->fingerprint,
        .replay = true,
        .mandatory = true,
    };
    int err;
    while ((err = bus_publish(r->bus, &p, &r->n_sent)) == -EAGAIN)
        if (!turn(r, CONFIRM_MS))
            return -EAGAIN;
    if (!err)
        r->open |= 1ULL << (r->n_sent - r->n_settled - 1);
    return err;
}

/* A trail with a hole in it is told, never hidden. */
static void note_version(struct replay *r, const struct trail_event *e) {
    if (!e->is_version)
        return;
    if (r->version.epoch == e->position.epoch && e->position.version > r->version.version + 1)
        r->n_missing += e->position.version - r->version.version - 1;
    r->version = e->position;
}

static bool publish_page(struct replay *r) {
    struct trail *t = &r->trail;
    _Static_assert(TRAIL_PAGE <= 64, "a page has a bit for each");
    int err = 0;
    r->n_settled = r->n_sent;
    bus_cork(r->bus);
    for (size_t i = 0; i < t->n && !err; i++) {
        note_version(r, &t->events[i]);
        err = publish(r, &t->events[i]);
    }
    bus_uncork(r->bus);
    while (!err && r->open)
        if (!turn(r, CONFIRM_MS))
            err = -ETIMEDOUT;
    if (err && !r->why[0])
        snprintf(r->why, sizeof(r->why), "%s",
                 bus_is_blocked(r->bus) ? "the broker takes no messages for now" : strerror(-err));
    return !err && !r->n_refused && !r->n_returned;
}

/* ---- what is told ---- */

static const char *target_of(const struct replay *r) {
    return r->queue ? r->queue : r->exchange;
}

/* from: where to go on, of a replay that did not come to its end; else "". */
static bool tell_result(const struct replay *r, const char *from) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    if (r->json) {
        buf_printf(&out, "{\"sessionId\":\"%s\",\"%s\":", r->trail.session_id,
                   r->queue ? "queue" : "exchange");
        shown_text_json(&out, target_of(r));
        buf_printf(&out, ",\"published\":%" PRIu64 ",\"missing\":%" PRIu64 ",\"goOnFrom\":",
                   r->n_confirmed, r->n_missing);
        shown_text_json(&out, from);
        buf_puts(&out, "}\n");
    } else if (!*from) {
        buf_printf(&out, "%" PRIu64 " published to %s\n", r->n_confirmed, target_of(r));
    }
    return shown_flush(&out);
}

static int tell_failure(struct replay *r) {
    const char *target = target_of(r);
    _cleanup_(buf_done) struct buf from = BUF_NULL;
    progress_clear(&r->progress);
    shown_position(&from, r->done.version ? r->done : r->trail.from);
    if (r->n_returned)
        fprintf(stderr,
                "handoff: %s: no queue took %" PRIu64 " of them: is there one, and bound?\n",
                target, r->n_returned);
    else if (r->n_refused)
        fprintf(stderr, "handoff: %s: the broker refused %" PRIu64 " of them: is it full?\n",
                target, r->n_refused);
    else
        advice_rabbitmq(target, r->why);
    fprintf(stderr, "handoff: what may be missing begins at version %s: go on with --from %s\n",
            from.data, from.data);
    (void)!tell_result(r, from.data);
    return 1;
}

static int run(struct replay *r) {
    struct position from = r->trail.from;
    r->version =
        from.version ? (struct position){from.version - 1, from.epoch} : (struct position){0, 1};
    do {
        if (trail_next(&r->trail, &r->backends)) {
            progress_clear(&r->progress);
            return 1;
        }
        if (r->trail.n && !publish_page(r))
            return tell_failure(r);
        if (r->trail.n)
            r->done = r->trail.events[r->trail.n - 1].position;
        progress_tell(&r->progress, "%" PRIu64 " confirmed, version %" PRIu64, r->n_confirmed,
                      r->done.version);
    } while (r->trail.n);
    progress_clear(&r->progress);
    if (r->n_missing)
        fprintf(stderr, "handoff: the audit trail does not have %" PRIu64 " of these versions\n",
                r->n_missing);
    return tell_result(r, "") && !r->n_missing ? 0 : 1;
}

/* ---- the whole ---- */

/* What is in these is for our services alone: commands would be poison to them, and the trail needs
 * no second copy. */
static const char *check_target(const char *exchange, const char *queue, bool yes) {
    static const char *const ours[] = {ROUTE_COMMANDS_QUEUE, ROUTE_COMMANDS_DEAD_QUEUE,
                                       ROUTE_AUDIT_QUEUE, ROUTE_AUDIT_DEAD_QUEUE};
    if (!exchange == !queue)
        return "Where to? Give --exchange or --queue, one of them.";
    if ((exchange && strlen(exchange) > 255) || (queue && strlen(queue) > 255))
        return "A name has at most 255 bytes.";
    for (size_t i = 0; i < N_ELEMENTS(ours); i++)
        if (queue && strcmp(queue, ours[i]) == 0)
            return "That queue is Handoff's own: give one of a consumer.";
    if (exchange && strcmp(exchange, ROUTE_COMMANDS_EXCHANGE) == 0)
        return "That exchange is for commands: give one of a consumer.";
    if (exchange && strcmp(exchange, ROUTE_UPDATES_EXCHANGE) == 0 && !yes)
        return "Every consumer of session_updates would hear it again: add --yes to mean it.";
    return NULL;
}

static const char *check(struct replay *r, char *const *words, size_t n_words, const char *from,
                         const char *to, bool yes) {
    const char *mistake = sessions_check_id(words, n_words);
    if (!mistake && from && !trail_parse_position(from, &r->trail.from))
        mistake = "--from takes a version, 42, or in a later epoch 42.2.";
    if (!mistake && to && !trail_parse_position(to, &r->trail.to))
        mistake = "--to takes a version, 42, or in a later epoch 42.2.";
    return mistake ? mistake : check_target(r->exchange, r->queue, yes);
}

static int open_and_run(struct replay *r, const struct config *config) {
    struct db_session found = {0};
    int code = backends_open(&r->backends, config, true, false) ? 2 : 0;
    if (!code)
        code = sessions_find(&r->backends, r->trail.session_id, &found);
    if (!code)
        code = connect_broker(r, config);
    if (!code)
        code = run(r);
    db_session_done(&found);
    trail_done(&r->trail);
    r->bus = bus_free(r->bus);
    backends_done(&r->backends);
    return code;
}

int sessions_replay(int argc, char **argv) {
    struct replay r = {.trail = {.to = TRAIL_LAST, .wants_data = true}};
    const char *from = NULL, *to = NULL;
    bool yes = false;
    const struct argument options[] = {
        {"--from", .text = &from},
        {"--to", .text = &to},
        {"--exchange", .text = &r.exchange},
        {"--queue", .text = &r.queue},
        {"--yes", .flag = &yes},
        {"--progress", .flag = &r.progress.is_asked},
        {"--json", .flag = &r.json},
    };
    size_t n = 0;
    struct config config = {0};
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    const char *mistake = check(&r, argv + 1, n, from, to, yes);
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    memcpy(r.trail.session_id, argv[1], sizeof(r.trail.session_id));
    if (!arguments_load_config(CONFIG_CLI, &config))
        return 2;
    int code = open_and_run(&r, &config);
    config_done(&config);
    return code;
}
