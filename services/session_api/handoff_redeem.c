/* POST /handoff: a code becomes a session. The code is claimed first, in one step of Redis, so that
 * of all who have it one gets in; whatever fails after that the same one may ask again. Then the
 * session is read as who offered it: whether it is still there, and theirs. Who needs a role is
 * given it by the engine, on behalf of the owner who offered it; and the session is read, as by any
 * reader. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "base/timestamp.h"
#include "common/session_token.h"
#include "services/session_api/api.h"
#include "services/session_api/bodies.h"

/* Wrong, used, expired, for another account, of a session that is gone: nobody learns which. */
static void refuse_code(struct call *call) {
    handoff_count(call, HANDOFF_WRONG);
    call->session_id[0] = '\0';
    call_refuse_with(call, FAULT_NOT_FOUND, "there is no such code");
}

static void refuse_store(struct call *call) {
    call_refuse_with(call, FAULT_UNAVAILABLE, "Redis cannot be reached");
}

/* ---- the answer ---- */

static void log_redeemed(const struct call *call) {
    log_info(call->api->app->log, "code_redeemed", "A device came by a handoff code.",
             LOG_TEXT("requestId", call->request_id), LOG_TEXT("sessionId", call->session_id),
             LOG_TEXT("userId", call->who.user_id), LOG_TEXT("deviceId", call->device_id),
             LOG_TEXT("role", session_role_name(call->role)), LOG_TRACE(&call->trace));
}

/* Puts a token and the device that it names behind the session's members. */
static int put_token(const struct call *call, struct buf *body) {
    _cleanup_(freep) char *token = NULL;
    int64_t expires_at_s;
    char expires_at[TIMESTAMP_LEN + 1];
    int err = session_token_new(call->api->auth, call->who.user_id, call->session_id,
                                call->device_id, timestamp_wall_ms() / 1000, &token, &expires_at_s);
    if (err)
        return err;
    timestamp_print(expires_at_s * 1000, expires_at);
    body->len--; /* the brace */
    buf_printf(body, ",\"token\":\"%s\",\"tokenExpiresAt\":\"%s\",\"deviceId\":\"%s\"}", token,
               expires_at, call->device_id);
    return 0;
}

static void answer(struct call *call, const struct session *session) {
    struct buf body = BUF_NULL;
    session_print(session, call->role, &body);
    if (call->is_guest && put_token(call, &body) < 0) {
        buf_done(&body);
        call_refuse_with(call, FAULT_INTERNAL, "no token could be signed");
        return;
    }
    handoff_count(call, HANDOFF_REDEEMED);
    log_redeemed(call);
    call_add_tag(call, session->position);
    call_answer(call, 200, &body);
}

static void let_in(struct call *call) {
    const struct handoff *h = call->handoff;
    call->n_loads = 0; /* those were for the owner */
    call->who = h->asker;
    if (call->is_guest) {
        memcpy(call->who.user_id, h->offer.user_id, sizeof(call->who.user_id));
        call->who.rights = COMMAND_READ | COMMAND_WRITE;
    }
    memcpy(call->device_id, h->offer.user_device, sizeof(call->device_id));
    reads_whole(call, answer);
}

/* ---- the role ---- */

static void on_reply(void *arg, struct reply *reply) {
    struct call *call = arg;
    switch (reply->fault.code) {
    case FAULT_NONE:
        let_in(call);
        break;
    case FAULT_NOT_FOUND: /* what was read a moment ago has changed */
    case FAULT_FORBIDDEN:
    case FAULT_DEVICE_REMOVED:
        refuse_code(call);
        break;
    default:
        call_refuse(call, &reply->fault, NULL);
        break;
    }
}

static void give_role(struct call *call) {
    const struct store_code *offer = &call->handoff->offer;
    struct command *c = &call->command;
    c->kind = COMMAND_PARTICIPANT;
    c->rights = COMMAND_READ | COMMAND_WRITE;
    c->participant_role = offer->role;
    c->trace = call->trace;
    memcpy(c->session_id, offer->session_id, sizeof(c->session_id));
    memcpy(c->user_id, offer->owner_id, sizeof(c->user_id));
    memcpy(c->device_id, offer->device_id, sizeof(c->device_id));
    memcpy(c->participant_id, offer->user_id, sizeof(c->participant_id));
    commander_send(call->api->commander, c, on_reply, call);
}

/* A device that was put out meanwhile offers nothing any more, nor does a role take one away that
 * is more. */
static void on_offered(struct call *call, const struct session *session, bool is_hot) {
    const struct store_code *offer = &call->handoff->offer;
    (void)is_hot;
    if (call->role != SESSION_ROLE_OWNER || session_device_is_removed(session, offer->device_id))
        refuse_code(call);
    else if (session_role_of(session, offer->user_id) >= offer->role)
        let_in(call);
    else
        give_role(call);
}

/* ---- the code ---- */

static void on_claimed(void *arg, int err, const struct store_code *code) {
    struct call *call = arg;
    struct handoff *h = call->handoff;
    if (err == -ENOENT) {
        refuse_code(call);
        return;
    }
    if (err != -ECANCELED)
        store_untry_code(call->api->store, h->address, h->try_moment);
    if (err < 0) {
        refuse_store(call);
        return;
    }
    h->offer = *code;
    store_release_code(call->api->store, code->session_id, h->hash);
    h->asker = call->who;
    call->who = (struct principal){.rights = COMMAND_READ | COMMAND_WRITE};
    memcpy(call->who.user_id, code->owner_id, sizeof(call->who.user_id));
    call->device_id[0] = '\0';
    memcpy(call->session_id, code->session_id, sizeof(call->session_id));
    access_read_meta(call, on_offered);
}

/* Who may have the code a second time: the device of a user; without a login whoever knows the key
 * of the first time, which only a client that wants to ask again gives. */
static int print_claimant(struct call *call, char ret[static HASH_HEX_LEN + 1], struct fault *f) {
    const struct handoff *h = call->handoff;
    const char *header = http_header(call->request, "Idempotency-Key");
    char key[COMMAND_KEY_MAX + 1] = "", text[2 * COMMAND_KEY_MAX + SESSION_DEVICE_MAX];
    int r = header ? headers_idempotency_key(header, key, f) : 0;
    if (r)
        return r;
    uint8_t random[32];
    random_bytes(random, sizeof(random));
    if (call->is_guest && !header) {
        hash_sha256_hex(random, sizeof(random), ret);
        return 0;
    }
    int len = call->is_guest
                  ? snprintf(text, sizeof(text), "key\n%s\n%s", key, call->device_id)
                  : snprintf(text, sizeof(text), "user\n%s\n%s", call->who.user_id, h->device_id);
    hash_sha256_hex(text, (size_t)len, ret);
    return 0;
}

static void claim(struct call *call) {
    const struct handoff *h = call->handoff;
    char guest[UUID_LEN + 1];
    uuid_v4(guest);
    const struct store_code_claim claim = {.asker = call->who.user_id,
                                           .claimant = h->offer.claimant,
                                           .user_id = call->is_guest ? guest : call->who.user_id,
                                           .device_id = h->device_id};
    store_claim_code(call->api->store, h->hash, &claim, on_claimed, call);
}

static void on_tried(void *arg, int err, const struct store_try *try) {
    struct call *call = arg;
    struct fault fault;
    if (err < 0) {
        refuse_store(call);
        return;
    }
    if (!try->moment) {
        handoff_count(call, HANDOFF_LIMITED);
        (void)fault_set(&fault, FAULT_RATE_LIMITED, NULL,
                        "too many wrong codes came from this address");
        fault.retry_after_ms = try->retry_after_ms;
        call_refuse(call, &fault, NULL);
        return;
    }
    call->handoff->try_moment = try->moment;
    claim(call);
}

/* The token or X-Device-Id names it, or the body; a guest that does not say gets a new one. */
static int settle_device(struct call *call, struct fault *f) {
    struct handoff *h = call->handoff;
    if (*h->device_id && *call->device_id && strcmp(h->device_id, call->device_id) != 0)
        return (int)fault_set(f, FAULT_FORBIDDEN, "id",
                              "device.id differs from the token's device_id or X-Device-Id");
    if (*call->device_id)
        memcpy(h->device_id, call->device_id, sizeof(h->device_id));
    if (!*h->device_id && !call->is_guest)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "X-Device-Id",
                              "a device is needed: claim device_id, header X-Device-Id or "
                              "device.id");
    memcpy(call->device_id, h->device_id, sizeof(call->device_id));
    if (!*h->device_id)
        uuid_v4(h->device_id);
    return 0;
}

void handoff_redeem(struct call *call) {
    struct fault fault;
    size_t len = 0;
    const char *body = http_body(call->request, &len);
    enum media_type type = headers_media_type(http_header(call->request, "Content-Type"));
    handoff_begin(call);
    struct handoff *h = call->handoff;
    if (bodies_read_redeem(type, body, len, h->hash, h->device_id, &fault) ||
        settle_device(call, &fault) || print_claimant(call, h->offer.claimant, &fault)) {
        call_refuse(call, &fault, NULL);
        return;
    }
    limits_address(call, h->address);
    store_try_code(call->api->store, h->address, on_tried, call);
}
