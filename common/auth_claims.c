/* Claims of a token; see auth_claims.h and contract section 1. A claim of the wrong type is
 * refused, never read as absent. */
#include "common/auth_claims.h"

#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "common/session_token.h"
#include "proto/command.h"
#include "proto/session.h"

#define LEEWAY_S 30
#define SUBJECT_MAX 255
#define LAST_S 253402300799 /* the end of year 9999 */

/* RFC 9562's namespace for URLs; part of the contract, as each user's id depends on it. */
static const char user_namespace[] = "6ba7b811-9dad-11d1-80b4-00c04fd430c8";

static enum fault_code refuse(struct fault *f, const char *claim, const char *what) {
    return fault_set(f, FAULT_UNAUTHENTICATED, NULL, "claim %s %s", claim, what);
}

/* 0 and NULL when absent. */
static int take_string(const json_t *payload, const char *claim, const char **ret,
                       struct fault *f) {
    const json_t *value = json_object_get(payload, claim);
    if (value && !json_is_string(value))
        return refuse(f, claim, "is not a string");
    *ret = json_string_value(value);
    return 0;
}

/* NumericDate may have a fraction (RFC 7519, section 2). *ret stays when absent. */
static int take_time(const json_t *payload, const char *claim, double (*to_whole)(double),
                     int64_t *ret, struct fault *f) {
    const json_t *value = json_object_get(payload, claim);
    if (!value)
        return 0;
    if (!json_is_number(value))
        return refuse(f, claim, "is not a number");
    double seconds = to_whole(json_number_value(value));
    *ret = seconds > (double)LAST_S ? LAST_S : seconds < 0 ? 0 : (int64_t)seconds;
    return 0;
}

static int take_times(const json_t *payload, struct auth_claims *c, struct fault *f) {
    int64_t not_before = INT64_MIN, issued_at = INT64_MIN;
    if (!json_object_get(payload, "exp"))
        return refuse(f, "exp", "is missing");
    int r = take_time(payload, "exp", floor, &c->principal.expires_at, f);
    if (r == 0)
        r = take_time(payload, "nbf", ceil, &not_before, f);
    if (r == 0)
        r = take_time(payload, "iat", ceil, &issued_at, f);
    c->valid_from = not_before > issued_at ? not_before : issued_at;
    return r;
}

static bool is_for(const json_t *aud, const char *audience) {
    if (json_is_string(aud))
        return strcmp(json_string_value(aud), audience) == 0;
    size_t i;
    json_t *one;
    json_array_foreach(aud, i, one) {
        if (json_is_string(one) && strcmp(json_string_value(one), audience) == 0)
            return true;
    }
    return false;
}

static int take_user(const char *issuer, const char *subject, struct principal *p,
                     struct fault *f) {
    size_t len = subject ? strlen(subject) : 0;
    if (!subject)
        return refuse(f, "sub", "is missing");
    if (len < 1 || len > SUBJECT_MAX)
        return refuse(f, "sub", "has not 1 to 255 bytes");
    if (uuid_lower(subject, len, p->user_id))
        return 0;
    struct buf name = BUF_NULL;
    buf_printf(&name, "%s\n%s", issuer ? issuer : "", subject);
    uuid_v5(user_namespace, name.data, name.len, p->user_id);
    buf_done(&name);
    return 0;
}

static int take_device(const json_t *payload, struct principal *p, struct fault *f) {
    const char *device = NULL;
    int r = take_string(payload, "device_id", &device, f);
    if (r != 0 || !device)
        return r;
    if (!session_device_is_valid(device, strlen(device)))
        return refuse(f, "device_id", "is no device id");
    memcpy(p->device_id, device, strlen(device) + 1);
    return 0;
}

/* Another's claim of that name that is no session's id cannot be told from a session's that was
 * mangled: refused, as what is meant to narrow a token must never widen it. */
static int take_session(const json_t *payload, const char *claim, struct principal *p,
                        struct fault *f) {
    const char *session = NULL;
    int r = take_string(payload, claim, &session, f);
    if (r != 0 || !session)
        return r;
    if (!uuid_lower(session, strlen(session), p->session_id))
        return refuse(f, claim, "is no session's id");
    return 0;
}

static int take_scope(const json_t *payload, struct principal *p, struct fault *f) {
    static const struct {
        const char *name;
        enum command_right right;
    } scopes[] = {{"sessions:read", COMMAND_READ},
                  {"sessions:write", COMMAND_WRITE},
                  {"sessions:admin", COMMAND_ADMIN}};
    const char *scope = NULL;
    int r = take_string(payload, "scope", &scope, f);
    if (r != 0)
        return r;
    p->rights = scope ? 0 : COMMAND_READ | COMMAND_WRITE;
    for (const char *at = scope; at && *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        for (size_t i = 0; i < N_ELEMENTS(scopes); i++)
            if (len == strlen(scopes[i].name) && memcmp(at, scopes[i].name, len) == 0)
                p->rights |= scopes[i].right;
        at += len;
    }
    return 0;
}

int auth_claims_take(const json_t *payload, const struct auth_rules *rules, struct auth_claims *ret,
                     struct fault *f) {
    struct auth_claims c = {0};
    const char *iss = NULL, *sub = NULL;
    if (!json_is_object(payload))
        return fault_set(f, FAULT_UNAUTHENTICATED, NULL, "the payload is not an object");
    int r = take_times(payload, &c, f);
    if (r == 0)
        r = take_string(payload, "iss", &iss, f);
    if (r == 0 && *rules->issuer && (!iss || strcmp(iss, rules->issuer) != 0))
        r = refuse(f, "iss", "is not the issuer that is configured");
    if (r == 0 && *rules->audience && !is_for(json_object_get(payload, "aud"), rules->audience))
        r = refuse(f, "aud", "does not hold the audience that is configured");
    if (r == 0)
        r = take_string(payload, "sub", &sub, f);
    if (r == 0)
        r = take_user(iss, sub, &c.principal, f);
    if (r == 0)
        r = take_device(payload, &c.principal, f);
    if (r == 0)
        r = take_session(payload, rules->session_claim, &c.principal, f);
    if (r == 0)
        r = take_scope(payload, &c.principal, f);
    if (r == 0)
        *ret = c;
    return r;
}

int auth_claims_take_own(const json_t *payload, struct auth_claims *ret, struct fault *f) {
    static const struct auth_rules rules = {SESSION_TOKEN_ISSUER, "", "session_id"};
    struct auth_claims c = {0};
    int r = auth_claims_take(payload, &rules, &c, f);
    if (r != 0)
        return r;
    const char *user = json_string_value(json_object_get(payload, "sub"));
    if (!uuid_is(user, strlen(user)))
        return refuse(f, "sub", "is no user's id");
    if (!*c.principal.session_id)
        return refuse(f, "session_id", "is missing");
    if (!*c.principal.device_id)
        return refuse(f, "device_id", "is missing");
    if (json_object_get(payload, "scope"))
        return refuse(f, "scope", "is none of a session token's");
    c.principal.is_session_token = true;
    *ret = c;
    return 0;
}

int auth_claims_check_time(const struct auth_claims *c, int64_t now_s, struct fault *f) {
    if (now_s >= c->principal.expires_at + LEEWAY_S)
        return fault_set(f, FAULT_TOKEN_EXPIRED, NULL, "claim exp has passed");
    if (c->valid_from > now_s + LEEWAY_S)
        return refuse(f, "nbf or iat", "is in the future");
    return 0;
}
