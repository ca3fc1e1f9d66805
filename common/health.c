/* Readiness; see health.h. */
#include "common/health.h"

#include <stdio.h>
#include <string.h>

#include "common/clean.h"

#define DETAIL_MAX 256

enum dependency_state {
    DEPENDENCY_NEW, /* nothing is known yet */
    DEPENDENCY_UP,
    DEPENDENCY_DOWN,
};

struct health_dependency {
    struct health *health;
    struct health_dependency *next;
    const char *name; /* borrowed */
    enum dependency_state state;
    bool was_reached; /* or need not be */
    char *detail;     /* owned; "" when up */
};

struct health {
    struct health_dependency *dependencies, **end;
    bool drains;
    void (*when_reached)(void *arg); /* NULL: nobody waits, or was told */
    void *when_reached_arg;
};

struct health *health_new(void) {
    struct health *h = must_alloc(sizeof(*h));
    h->end = &h->dependencies;
    return h;
}

struct health *health_free(struct health *h) {
    if (!h)
        return NULL;
    for (struct health_dependency *d = h->dependencies, *next; d; d = next) {
        next = d->next;
        free(d->detail);
        free(d);
    }
    free(h);
    return NULL;
}

struct health_dependency *health_add(struct health *h, const char *name) {
    struct health_dependency *d = must_alloc(sizeof(*d));
    d->health = h;
    d->name = name;
    d->detail = must_strdup("not reached yet");
    *h->end = d;
    h->end = &d->next;
    return d;
}

struct health_dependency *health_add_optional(struct health *h, const char *name) {
    struct health_dependency *d = health_add(h, name);
    d->was_reached = true;
    return d;
}

static bool all_were_reached(const struct health *h) {
    const struct health_dependency *d = h->dependencies;
    while (d && d->was_reached)
        d = d->next;
    return !d;
}

static void tell_when_reached(struct health *h) {
    void (*fn)(void *arg) = h->when_reached;
    if (!fn || !all_were_reached(h))
        return;
    h->when_reached = NULL;
    fn(h->when_reached_arg);
}

void health_when_reached(struct health *h, void (*fn)(void *arg), void *arg) {
    h->when_reached = fn;
    h->when_reached_arg = arg;
    tell_when_reached(h);
}

bool health_set(struct health_dependency *d, bool up, const char *detail) {
    enum dependency_state state = up ? DEPENDENCY_UP : DEPENDENCY_DOWN;
    bool changed = d->state != state;
    d->state = state;
    d->was_reached = d->was_reached || up;
    struct buf text = BUF_NULL;
    clean_put(&text, detail, strlen(detail), DETAIL_MAX);
    free(d->detail);
    d->detail = buf_take(&text);
    if (up)
        tell_when_reached(d->health);
    return changed;
}

/* What to look at first; names may have more behind: "rabbitmq_publish". */
static const char *hint_of(const struct health_dependency *d, const char *why) {
    static const struct {
        const char *name, *hint;
    } hints[] = {
        {"rabbitmq", "Is RabbitMQ up, and HANDOFF_AMQP_URL right?"},
        {"redis", "Is Redis up, and HANDOFF_REDIS_URL right?"},
        {"postgresql", "Is PostgreSQL up, and HANDOFF_DATABASE_URL right?"},
        {"identity_provider", "Is HANDOFF_JWKS_URL right, and can it be reached from here?"},
    };
    if (strstr(why, "inequivalent arg 'x-queue-type'"))
        return "A queue exists with another type: set HANDOFF_QUEUE_TYPE to that one, or let the "
               "queue run empty and delete it.";
    for (size_t i = 0; i < N_ELEMENTS(hints); i++)
        if (strncmp(d->name, hints[i].name, strlen(hints[i].name)) == 0)
            return hints[i].hint;
    return "";
}

void health_report(struct health_dependency *d, struct log *log, bool up, const char *why) {
    if (!health_set(d, up, up ? "" : why))
        return;
    if (up)
        log_info(log, "dependency_up", "A dependency is reached.", LOG_TEXT("dependency", d->name));
    else
        log_warn(log, "dependency_lost", "A dependency is not reached; it is tried again.",
                 LOG_TEXT("dependency", d->name), LOG_TEXT("err", why),
                 LOG_TEXT("hint", hint_of(d, why)));
}

bool health_is_up(const struct health_dependency *d) {
    return d->state == DEPENDENCY_UP;
}

void health_drain(struct health *h) {
    h->drains = true;
}

static const char *status_of(const struct health *h) {
    bool all_up = true;
    for (const struct health_dependency *d = h->dependencies; d; d = d->next)
        all_up = all_up && health_is_up(d);
    return h->drains              ? "draining"
           : !all_were_reached(h) ? "starting"
           : all_up               ? "ready"
                                  : "degraded";
}

int health_ready_status(const struct health *h) {
    const char *status = status_of(h);
    return strcmp(status, "ready") == 0 || strcmp(status, "degraded") == 0 ? 200 : 503;
}

void health_measure(const struct health *h, struct metrics *m) {
    for (const struct health_dependency *d = h->dependencies; d; d = d->next) {
        char label[64];
        snprintf(label, sizeof(label), "dependency=\"%s\"", d->name);
        metric_set(metrics_gauge(m, "handoff_dependency_up", label,
                                 "Whether what the service needs is reached."),
                   health_is_up(d));
    }
    metric_set(
        metrics_gauge(m, "handoff_draining", NULL, "1 while the service is ending in order."),
        h->drains);
}

void health_print(const struct health *h, struct buf *out) {
    buf_puts(out, "{\"status\":");
    buf_puts_json(out, status_of(h));
    buf_puts(out, ",\"dependencies\":{");
    for (const struct health_dependency *d = h->dependencies; d; d = d->next) {
        buf_puts_json(out, d->name);
        buf_printf(out, ":{\"up\":%s", health_is_up(d) ? "true" : "false");
        if (*d->detail) {
            buf_puts(out, ",\"detail\":");
            buf_puts_json(out, d->detail);
        }
        buf_puts(out, d->next ? "}," : "}");
    }
    buf_puts(out, "}}");
}
