/* Limits of requests a user and a client address: token buckets in Redis, so that all instances
 * count together. While Redis is away requests pass: to serve is worth more than to limit. What a
 * client may know is in the headers of draft-ietf-httpapi-ratelimit-headers-10. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "services/session_api/api.h"

static const struct limit_row {
    const char *name;
    enum store_bucket bucket;
    const char *detail;
} rows[LIMIT_N] = {
    [LIMIT_ADDRESS] = {"address", STORE_BUCKET_ADDRESS,
                       "this address sends more requests than allowed"},
    [LIMIT_USER] = {"user", STORE_BUCKET_USER, "the user sends more requests than allowed"},
};

static void set_limit(struct limit *l, struct metrics *m, const char *label, int64_t rate,
                      int64_t burst) {
    l->rate = rate;
    l->burst = burst ? burst : 2 * rate;
    l->refused =
        metrics_counter(m, "handoff_http_rate_limited_total", label,
                        "Requests refused since there were too many, by what was counted.");
}

void limits_init(struct limits *l, const struct config *c, struct metrics *m) {
    proxies_init(&l->proxies, c->trusted_proxies);
    set_limit(&l->limits[LIMIT_ADDRESS], m, "by=\"address\"", c->api_address_requests_per_second,
              c->api_address_requests_burst);
    set_limit(&l->limits[LIMIT_USER], m, "by=\"user\"", c->api_user_requests_per_second,
              c->api_user_requests_burst);
    l->skipped = metrics_counter(m, "handoff_http_limits_skipped_total", NULL,
                                 "Requests that passed uncounted since Redis did not answer.");
}

void limits_done(struct limits *l) {
    proxies_done(&l->proxies);
}

/* ---- headers ---- */

static void append(char *text, size_t cap, const char *item) {
    size_t len = strlen(text);
    snprintf(text + len, cap - len, "%s%s", len ? ", " : "", item);
}

/* Two lists of structured fields, with an item for each limit. */
static void note(struct call *call, enum limit_kind kind, const struct store_token *token) {
    const struct limit *l = &call->api->limits.limits[kind];
    char item[sizeof(call->limit_policy) / LIMIT_N];
    snprintf(item, sizeof(item), "\"%s\";q=%" PRId64 ";w=%" PRId64, rows[kind].name, l->burst,
             (l->burst + l->rate - 1) / l->rate);
    append(call->limit_policy, sizeof(call->limit_policy), item);
    snprintf(item, sizeof(item), "\"%s\";r=%" PRId64 ";t=%" PRId64, rows[kind].name, token->n_left,
             (token->full_after_ms + 999) / 1000);
    append(call->limit_state, sizeof(call->limit_state), item);
}

void limits_add_headers(struct call *call) {
    if (!call->limit_policy[0])
        return;
    call_add_header(call, "RateLimit-Policy", call->limit_policy);
    call_add_header(call, "RateLimit", call->limit_state);
}

/* ---- asking ---- */

static void refuse(struct call *call, enum limit_kind kind, const struct store_token *token) {
    struct fault fault;
    metric_add(call->api->limits.limits[kind].refused, 1);
    (void)fault_set(&fault, FAULT_RATE_LIMITED, NULL, "%s", rows[kind].detail);
    fault.retry_after_ms = token->retry_after_ms > 0 ? token->retry_after_ms : 1;
    call_refuse(call, &fault, NULL);
}

static void on_token(struct call *call, enum limit_kind kind, int err,
                     const struct store_token *token) {
    if (err == -ECANCELED) { /* what comes next would ask what is freed already */
        call_refuse_with(call, FAULT_UNAVAILABLE, "the service is stopping");
        return;
    }
    if (err < 0)
        metric_add(call->api->limits.skipped, 1);
    else
        note(call, kind, token);
    if (err < 0 || token->is_taken)
        call->next(call);
    else
        refuse(call, kind, token);
}

static void on_address_token(void *arg, int err, const struct store_token *token) {
    on_token(arg, LIMIT_ADDRESS, err, token);
}

static void on_user_token(void *arg, int err, const struct store_token *token) {
    on_token(arg, LIMIT_USER, err, token);
}

static void ask(struct call *call, enum limit_kind kind, const char *who, store_token_fn *done,
                call_fn *next) {
    const struct limit *l = &call->api->limits.limits[kind];
    call->next = next;
    store_take_token(call->api->store, rows[kind].bucket, who, l->rate, l->burst, done, call);
}

/* Probes of health must not depend on who else asks from there. */
static bool is_probe(const struct call *call) {
    return call->resource == RESOURCE_HEALTH || call->resource == RESOURCE_READY;
}

void limits_address(struct call *call, char ret[static ADDRESS_CAP]) {
    client_address(&call->api->limits.proxies, http_peer(call->request),
                   http_header(call->request, "X-Forwarded-For"), ret);
}

void limits_take_address(struct call *call, call_fn *next) {
    struct limits *l = &call->api->limits;
    char address[ADDRESS_CAP];
    if (!l->limits[LIMIT_ADDRESS].rate || is_probe(call)) {
        next(call);
        return;
    }
    limits_address(call, address);
    ask(call, LIMIT_ADDRESS, address, on_address_token, next);
}

void limits_take_user(struct call *call, call_fn *next) {
    if (call->api->limits.limits[LIMIT_USER].rate)
        ask(call, LIMIT_USER, call->who.user_id, on_user_token, next);
    else
        next(call);
}
