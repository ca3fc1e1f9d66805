/* Session tokens: the keys that verify them, and a new one for one that will expire. Whoever may
 * still read the session gets a day more, so that a device in use never has to scan a code again;
 * who lost the session, its role or the device's place in it gets none. */
#include "base/timestamp.h"
#include "common/session_token.h"
#include "services/session_api/api.h"

#define MILLISECONDS 1000

/* ---- GET /.well-known/jwks.json ---- */

void tokens_answer_keys(struct call *call) {
    struct buf body = BUF_NULL;
    if (!session_token_print_keys(call->api->auth, &body)) {
        call_refuse_with(call, FAULT_NOT_FOUND, "no session tokens are made here");
        return;
    }
    call->cache_control = "public, max-age=300";
    call_answer(call, 200, &body);
}

/* ---- POST /sessions/{id}/token ---- */

static void answer_token(struct call *call, const char *token, int64_t expires_at_s) {
    char moment[TIMESTAMP_LEN + 1];
    struct buf body = BUF_NULL;
    timestamp_print(expires_at_s * MILLISECONDS, moment);
    buf_printf(&body, "{\"token\":\"%s\",\"expiresAt\":\"%s\"}", token, moment);
    call->cache_control = "no-store";
    call_answer(call, 200, &body);
}

static void sign(struct call *call) {
    _cleanup_(freep) char *token = NULL;
    int64_t expires_at_s, now_s = timestamp_wall_ms() / MILLISECONDS;
    if (session_token_new(call->api->auth, call->who.user_id, call->session_id, call->device_id,
                          now_s, &token, &expires_at_s) < 0)
        call_refuse_with(call, FAULT_INTERNAL, "the token cannot be signed");
    else
        answer_token(call, token, expires_at_s);
}

/* Another issuer's token says when it ends, and not for Handoff to say otherwise. */
static void renew(struct call *call, const struct session *session, bool is_hot) {
    (void)is_hot;
    if (!call->who.is_session_token)
        call_refuse_with(call, FAULT_FORBIDDEN, "only a session token is renewed here");
    else if (!session_token_can_sign(call->api->auth))
        call_refuse_with(call, FAULT_FORBIDDEN, "session tokens are not renewed any more");
    else if (session_is_final(session->status))
        call_refuse_with(call, FAULT_SESSION_ENDED, "the session has ended");
    else
        sign(call);
}

void tokens_renew(struct call *call) {
    access_read_meta(call, renew);
}
