/* POST /sessions/{id}/handoff-codes, and a code as it is shown: GET …/handoff-codes/{code}. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/qr.h"
#include "services/session_api/api.h"
#include "services/session_api/bodies.h"

const char *const handoff_media_types[HANDOFF_N_MEDIA_TYPES] = {
    [HANDOFF_SVG] = "image/svg+xml", [HANDOFF_PNG] = "image/png", [HANDOFF_TEXT] = "text/plain"};

void handoff_init(struct api *api) {
    static const char *const labels[HANDOFF_N_OUTCOMES] = {
        [HANDOFF_ISSUED] = "outcome=\"issued\"",
        [HANDOFF_REDEEMED] = "outcome=\"redeemed\"",
        [HANDOFF_WRONG] = "outcome=\"wrong\"",
        [HANDOFF_LIMITED] = "outcome=\"limited\""};
    for (size_t i = 0; i < HANDOFF_N_OUTCOMES; i++)
        api->handoff_codes[i] = metrics_counter(api->app->metrics, "handoff_codes_total", labels[i],
                                                "Handoff codes by what became of them.");
}

void handoff_begin(struct call *call) {
    call->handoff = must_alloc(sizeof(*call->handoff));
    call->cache_control = "no-store";
}

void handoff_count(struct call *call, enum handoff_outcome outcome) {
    metric_add(call->api->handoff_codes[outcome], 1);
}

static bool is_owner(struct call *call) {
    if (*call->who.session_id)
        call_refuse_with(call, FAULT_FORBIDDEN, "a token for one session makes no handoff codes");
    else if (call->role != SESSION_ROLE_OWNER)
        call_refuse_with(call, FAULT_FORBIDDEN, "handoff codes are for the session's owner");
    else
        return true;
    return false;
}

/* ---- making one ---- */

static void refuse_places(struct call *call, int64_t free_after_ms) {
    struct fault fault;
    (void)fault_set(&fault, FAULT_RATE_LIMITED, NULL, "the session has %d codes that live",
                    STORE_CODES_PER_SESSION);
    fault.retry_after_ms = free_after_ms;
    call_refuse(call, &fault, NULL);
}

static void on_issued(void *arg, int err, int64_t moment) {
    struct call *call = arg;
    const char *code = call->handoff->code;
    char expires_at[TIMESTAMP_LEN + 1];
    struct buf body = BUF_NULL, url = BUF_NULL;
    if (err == -EDQUOT) {
        refuse_places(call, moment);
        return;
    }
    if (err < 0) {
        call_refuse_with(call, FAULT_UNAVAILABLE, "Redis cannot be reached");
        return;
    }
    handoff_count(call, HANDOFF_ISSUED);
    timestamp_print(moment, expires_at);
    handoff_code_put_url(call->api->app->config->code_url, code, &url);
    buf_printf(&body, "{\"code\":\"%s\",\"url\":", code);
    buf_put_json(&body, url.data, url.len);
    buf_printf(&body, ",\"expiresAt\":\"%s\"}", expires_at);
    buf_done(&url);
    snprintf(call->location, sizeof(call->location), "/sessions/%s/handoff-codes/%s",
             call->session_id, code);
    call_add_header(call, "Location", call->location);
    call_answer(call, 201, &body);
}

static void issue(struct call *call, const struct session *session, bool is_hot) {
    struct handoff *h = call->handoff;
    (void)is_hot;
    if (!is_owner(call))
        return;
    if (session_is_final(session->status)) {
        call_refuse_with(call, FAULT_SESSION_ENDED, "the session has ended");
        return;
    }
    memcpy(h->offer.session_id, call->session_id, sizeof(h->offer.session_id));
    memcpy(h->offer.owner_id, call->who.user_id, sizeof(h->offer.owner_id));
    memcpy(h->offer.device_id, call->device_id, sizeof(h->offer.device_id));
    handoff_code_new(h->code);
    hash_sha256_hex(h->code, HANDOFF_CODE_LEN, h->hash);
    store_issue_code(call->api->store, h->hash, &h->offer, h->ttl_ms, on_issued, call);
}

void handoff_offer(struct call *call) {
    struct fault fault;
    size_t len = 0;
    int64_t ttl_s = 0;
    const char *body = http_body(call->request, &len);
    enum media_type type = headers_media_type(http_header(call->request, "Content-Type"));
    handoff_begin(call);
    if (bodies_read_offer(type, body, len, &call->handoff->offer.role, &ttl_s, &fault)) {
        call_refuse(call, &fault, NULL);
        return;
    }
    call->handoff->ttl_ms = ttl_s * 1000;
    access_read_meta(call, issue);
}

/* ---- showing it ---- */

static int put_picture(const struct call *call, struct buf *out) {
    struct buf url = BUF_NULL;
    handoff_code_put_url(call->api->app->config->code_url, call->parameter, &url);
    int err = call->media_type == HANDOFF_SVG   ? qr_put_svg(url.data, out)
              : call->media_type == HANDOFF_PNG ? qr_put_png(url.data, out)
                                                : qr_put_text(url.data, out);
    buf_done(&url);
    return err;
}

static void on_found(void *arg, int err, const struct store_code *code) {
    struct call *call = arg;
    struct buf body = BUF_NULL;
    if (err < 0 && err != -ENOENT) {
        call_refuse_with(call, FAULT_UNAVAILABLE, "Redis cannot be reached");
    } else if (err || code->claimant[0] || strcmp(code->session_id, call->session_id) != 0) {
        call_refuse_with(call, FAULT_NOT_FOUND, "there is no such code");
    } else if (put_picture(call, &body) < 0) {
        call_refuse_with(call, FAULT_INTERNAL, "the code's url does not fit");
    } else {
        call->content_type = call->media_type == HANDOFF_TEXT
                                 ? "text/plain; charset=utf-8"
                                 : handoff_media_types[call->media_type];
        call_answer(call, 200, &body);
    }
}

static void find(struct call *call, const struct session *session, bool is_hot) {
    char hash[HASH_HEX_LEN + 1];
    (void)session, (void)is_hot;
    if (!is_owner(call))
        return;
    hash_sha256_hex(call->parameter, strlen(call->parameter), hash);
    store_find_code(call->api->store, hash, on_found, call);
}

void handoff_show(struct call *call) {
    handoff_begin(call);
    access_read_meta(call, find);
}
