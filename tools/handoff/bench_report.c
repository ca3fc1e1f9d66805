/* What was found, for people or as an object. */
#include <inttypes.h>
#include <stdio.h>

#include "tools/handoff/bench_private.h"
#include "tools/handoff/shown.h"

static double seconds_of(const struct bench *b) {
    return b->ended_ns > b->begun_ns ? (double)(b->ended_ns - b->begun_ns) / 1e9 : 0;
}

static double rate_of(const struct bench *b) {
    double seconds = seconds_of(b);
    return seconds > 0 ? (double)b->n_applied / seconds : 0;
}

static void put_times(struct buf *out, const char *label, struct bench_samples *s) {
    buf_printf(out, "%-18s p50 %.2f ms   p99 %.2f ms   max %.2f ms   (%zu)\n", label,
               bench_samples_ms(s, 0.5), bench_samples_ms(s, 0.99), bench_samples_ms(s, 1), s->n);
}

static void put_text(struct bench *b, struct buf *out) {
    buf_printf(out, "%-18s %.1f a second of %" PRId64 " wanted, %zu in %.1f s\n", "changes",
               rate_of(b), b->orders.rate, b->n_applied, seconds_of(b));
    put_times(out, "PATCH", &b->answers);
    put_times(out, "device to device", &b->events);
    buf_printf(out, "%-18s %" PRIu64 " of %" PRIu64 "\n", "events not heard",
               b->n_events_awaited - b->n_events, b->n_events_awaited);
    buf_printf(out, "%-18s %" PRIu64 "\n", "errors", b->n_errors);
    for (size_t i = 0; i < BENCH_N_ERRORS && b->errors[i].n; i++) {
        _cleanup_(freep) char *what = shown_text(b->errors[i].what);
        buf_printf(out, "  %-16s %" PRIu64 "\n", what, b->errors[i].n);
    }
}

static void put_times_json(struct buf *out, const char *name, struct bench_samples *s) {
    buf_printf(out, ",\"%s\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"count\":%zu}", name,
               bench_samples_ms(s, 0.5), bench_samples_ms(s, 0.99), bench_samples_ms(s, 1), s->n);
}

static void put_json(struct bench *b, struct buf *out) {
    buf_printf(out,
               "{\"sessions\":%" PRId64 ",\"watchers\":%" PRId64 ",\"writers\":%" PRId64
               ",\"wantedRate\":%" PRId64 ",\"seconds\":%.3f,\"changes\":%zu,\"rate\":%.2f",
               b->orders.sessions, b->orders.watchers, b->orders.writers, b->orders.rate,
               seconds_of(b), b->n_applied, rate_of(b));
    put_times_json(out, "patchMs", &b->answers);
    put_times_json(out, "deviceToDeviceMs", &b->events);
    buf_printf(out, ",\"eventsNotHeard\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"errorsByKind\":{",
               b->n_events_awaited - b->n_events, b->n_errors);
    for (size_t i = 0; i < BENCH_N_ERRORS && b->errors[i].n; i++) {
        buf_puts(out, i ? "," : "");
        shown_text_json(out, b->errors[i].what);
        buf_printf(out, ":%" PRIu64, b->errors[i].n);
    }
    buf_puts(out, "}}\n");
}

bool bench_report(struct bench *b) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    (b->orders.json ? put_json : put_text)(b, &out);
    return shown_flush(&out);
}
