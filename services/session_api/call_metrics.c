/* Requests counted by route, method and status. The metrics are asked for once each: their names
 * are put together only then. */
#include <stdio.h>

#include "common/metrics.h"
#include "services/session_api/call.h"

#define N_METHODS 8
#define N_STATUSES 24

struct call_metrics {
    struct metrics *metrics;
    struct metric *requests[RESOURCE_N][N_METHODS][N_STATUSES];
    struct metric *durations[RESOURCE_N];
    struct metric *in_flight;
};

struct call_metrics *call_metrics_new(struct metrics *metrics) {
    struct call_metrics *m = must_alloc(sizeof(*m));
    m->metrics = metrics;
    m->in_flight = metrics_gauge(metrics, "handoff_http_requests_in_flight", NULL,
                                 "Requests not answered yet.");
    return m;
}

struct call_metrics *call_metrics_free(struct call_metrics *m) {
    free(m);
    return NULL;
}

/* 0 for a status that is not in the list, which is counted as "other". */
static size_t status_index(int status) {
    static const int statuses[N_STATUSES] = {0,   200, 201, 202, 204, 304, 400, 401,
                                             403, 404, 405, 406, 409, 410, 412, 413,
                                             415, 422, 428, 429, 431, 500, 503, 504};
    for (size_t i = 1; i < N_STATUSES; i++)
        if (statuses[i] == status)
            return i;
    return 0;
}

static struct metric *make_counter(struct call_metrics *m, const struct call *call, int status,
                                   size_t index) {
    char labels[160], code[12] = "other";
    if (index > 0)
        snprintf(code, sizeof(code), "%d", status);
    snprintf(labels, sizeof(labels), "route=\"%s\",method=\"%s\",code=\"%s\"",
             path_pattern(call->resource), path_method_name(call->method), code);
    return metrics_counter(m->metrics, "handoff_http_requests_total", labels,
                           "Requests by route, method and status.");
}

static struct metric *make_histogram(struct call_metrics *m, const struct call *call) {
    char labels[64];
    snprintf(labels, sizeof(labels), "route=\"%s\"", path_pattern(call->resource));
    return metrics_histogram(m->metrics, "handoff_http_request_duration_seconds", labels,
                             "From a whole request to its answer.");
}

void call_metrics_count(struct call_metrics *m, const struct call *call, int status,
                        double seconds) {
    size_t method = (size_t)__builtin_ctz((unsigned)call->method), index = status_index(status);
    struct metric **counter = &m->requests[call->resource][method][index];
    struct metric **duration = &m->durations[call->resource];
    if (!*counter)
        *counter = make_counter(m, call, status, index);
    if (!*duration)
        *duration = make_histogram(m, call);
    metric_add(*counter, 1);
    metric_observe(*duration, seconds);
}

void call_metrics_set_in_flight(struct call_metrics *m, size_t n) {
    metric_set(m->in_flight, (double)n);
}
