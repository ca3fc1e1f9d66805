/* Steps of traces; see trace.h. */
#include "common/trace.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/bucket.h"
#include "base/buf.h"
#include "base/random.h"
#include "common/app.h"
#include "common/clean.h"
#include "common/config_table.h"
#include "common/trace_export.h"

struct tracer {
    struct app *app;
    uint64_t sample_below; /* of a random number of 63 bits: those of the new traces that are */
    struct bucket callers;
    struct trace_export *export; /* NULL: nobody wants them */
};

int tracer_new(struct tracer **ret, struct app *app) {
    const struct config *c = app->config;
    struct tracer *t = must_alloc(sizeof(*t));
    t->app = app;
    t->sample_below = (uint64_t)c->trace_sample * ((UINT64_C(1) << 63) / CONFIG_RATIO_ONE);
    if (c->trace_sample == CONFIG_RATIO_ONE)
        t->sample_below = UINT64_MAX;
    bucket_init(&t->callers, c->trace_callers_per_second, c->trace_callers_per_second,
                (int64_t)uv_now(app->loop));
    int err = trace_export_new(&t->export, app);
    if (err < 0) {
        free(t);
        return err;
    }
    *ret = t;
    return 0;
}

struct tracer *tracer_free(struct tracer *t) {
    if (!t)
        return NULL;
    trace_export_free(t->export);
    free(t);
    return NULL;
}

/* ---- what is sampled ---- */

/* A bucket without a rate is one without a bound: here it is the other way round. */
static bool may_sample_caller(struct tracer *t) {
    return t && t->callers.rate > 0 &&
           bucket_take(&t->callers, 1, (int64_t)uv_now(t->app->loop)) == 0;
}

static bool samples_new(const struct tracer *t) {
    uint64_t number;
    if (!t || t->sample_below == 0)
        return false;
    random_bytes((uint8_t *)&number, sizeof(number));
    return number >> 1 < t->sample_below;
}

static bool is_zero(const uint8_t *id, size_t len) {
    static const uint8_t zero[TRACE_ID_BYTES];
    return memcmp(id, zero, len) == 0;
}

/* 0 is no id. */
static void make_id(uint8_t *ret, size_t len) {
    do
        random_bytes(ret, len);
    while (is_zero(ret, len));
}

void trace_accept(struct tracer *t, const char *traceparent, struct trace_context *ret) {
    trace_context_take(traceparent, ret);
    if (ret->is_set) {
        ret->is_sampled = ret->is_sampled && may_sample_caller(t);
    } else if (samples_new(t)) {
        ret->is_set = ret->is_sampled = true;
        make_id(ret->trace_id, sizeof(ret->trace_id));
    }
}

struct log_field trace_log(const struct trace_context *context,
                           char text[static TRACE_ID_LEN + 1]) {
    if (context->is_set)
        trace_id_print(context, text);
    return log_known("trace_id", text);
}

/* ---- a step ---- */

struct span *span_begin(struct tracer *t, struct trace_context *context, enum span_kind kind,
                        const char *name, uint64_t started_ns) {
    if (!context->is_sampled || !t)
        return NULL;
    struct span *s = must_alloc(sizeof(*s));
    s->kind = kind;
    s->started_ns = started_ns ? started_ns : uv_hrtime();
    strncpy(s->name, name, sizeof(s->name) - 1);
    memcpy(s->parent_id, context->span_id, sizeof(s->parent_id));
    make_id(context->span_id, sizeof(context->span_id));
    s->context = *context;
    return s;
}

static struct span_attribute *add(struct span *s, enum span_key key) {
    if (!s || s->n_attributes == SPAN_MAX_ATTRIBUTES)
        return NULL;
    s->attributes[s->n_attributes].key = key;
    return &s->attributes[s->n_attributes++];
}

void span_text(struct span *s, enum span_key key, const char *text) {
    struct span_attribute *a = text && *text ? add(s, key) : NULL;
    struct buf clean = BUF_NULL;
    if (!a)
        return;
    clean_put(&clean, text, strlen(text), SPAN_TEXT_MAX);
    a->text = buf_take(&clean);
}

void span_number(struct span *s, enum span_key key, int64_t number) {
    struct span_attribute *a = add(s, key);
    if (a)
        a->number = number;
}

struct span *span_free(struct span *s) {
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->n_attributes; i++)
        free(s->attributes[i].text);
    free(s);
    return NULL;
}

/* ---- its end ---- */

/* Steps are measured by the clock that does not jump, and told by the one that others have. */
static void stop_clock(struct span *s) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    s->duration_ns = uv_hrtime() - s->started_ns;
    s->start_unix_ns = (uint64_t)wall.tv_sec * 1000000000 + (uint64_t)wall.tv_nsec - s->duration_ns;
}

static void log_end(const struct tracer *t, const struct span *s) {
#define SPAN_LOG(name, otlp, log) [name] = (log),
    static const char *const names[] = {SPAN_KEYS(SPAN_LOG)};
#undef SPAN_LOG
    char trace_id[TRACE_ID_LEN + 1], span_id[TRACE_SPAN_ID_LEN + 1];
    struct log_field fields[4 + SPAN_MAX_ATTRIBUTES + 1];
    size_t n = 0;
    trace_id_print(&s->context, trace_id);
    trace_hex_print(s->context.span_id, TRACE_SPAN_ID_BYTES, span_id);
    fields[n++] = LOG_TEXT("trace_id", trace_id);
    fields[n++] = LOG_TEXT("span_id", span_id);
    fields[n++] = LOG_TEXT("span", s->name);
    fields[n++] = LOG_NUMBER("durationUs", (int64_t)(s->duration_ns / 1000));
    for (size_t i = 0; i < s->n_attributes; i++) {
        const struct span_attribute *a = &s->attributes[i];
        if (names[a->key])
            fields[n++] = (struct log_field){names[a->key], a->text, a->number};
    }
    fields[n] = LOG_END;
    log_write(t->app->log, LOG_LEVEL_INFO, "span_ended", "A step of a sampled trace has ended.",
              fields);
}

void span_end(struct tracer *t, struct span *s) {
    if (t && s) {
        stop_clock(s);
        log_end(t, s);
        if (t->export)
            trace_export_add(t->export, s);
    }
    span_free(s);
}
