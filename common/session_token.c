/* See session_token.h. The token is put together by hand: every member has a known alphabet, and
 * what is signed are the very bytes that are sent (RFC 7515, section 5.1). */
#include "common/session_token.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/base64url.h"
#include "base/uuid.h"
#include "common/session_keys.h"

bool session_token_can_sign(const struct auth *a) {
    return auth_session_keys(a)->private_key != NULL;
}

static void put_part(struct buf *out, struct buf *json) {
    base64url_put(out, json->data, json->len);
    buf_done(json);
}

static void put_header(const struct session_key *key, struct buf *out) {
    struct buf json = BUF_NULL;
    buf_printf(&json, "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", key->kid);
    put_part(out, &json);
}

static void put_claims(const char *user_id, const char *session_id, const char *device_id,
                       int64_t now_s, struct buf *out) {
    struct buf json = BUF_NULL;
    char id[UUID_LEN + 1];
    uuid_v4(id);
    buf_printf(&json,
               "{\"iss\":\"" SESSION_TOKEN_ISSUER "\",\"sub\":\"%s\",\"session_id\":\"%s\","
               "\"device_id\":\"%s\",\"iat\":%" PRId64 ",\"exp\":%" PRId64 ",\"jti\":\"%s\"}",
               user_id, session_id, device_id, now_s, now_s + SESSION_TOKEN_SECONDS, id);
    put_part(out, &json);
}

int session_token_new(const struct auth *a, const char *user_id, const char *session_id,
                      const char *device_id, int64_t now_s, char **ret_token,
                      int64_t *ret_expires_at_s) {
    const struct session_keys *keys = auth_session_keys(a);
    uint8_t signature[SESSION_KEY_SIGNATURE];
    struct buf token = BUF_NULL;
    if (!session_token_can_sign(a))
        return -EOPNOTSUPP;
    put_header(&keys->keys[keys->signer], &token);
    buf_putc(&token, '.');
    put_claims(user_id, session_id, device_id, now_s, &token);
    int r = session_keys_sign(keys, token.data, token.len, signature);
    if (r < 0) {
        buf_done(&token);
        return r;
    }
    buf_putc(&token, '.');
    base64url_put(&token, signature, sizeof(signature));
    *ret_token = buf_take(&token);
    *ret_expires_at_s = now_s + SESSION_TOKEN_SECONDS;
    return 0;
}

bool session_token_print_keys(const struct auth *a, struct buf *out) {
    const struct session_keys *keys = auth_session_keys(a);
    if (!keys->n)
        return false;
    session_keys_print_set(keys, out);
    return true;
}
