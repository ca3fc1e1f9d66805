/* `handoff token new`. What it prints is what was asked for, and nothing else: no secret, no key.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "base/uuid.h"
#include "common/config_file.h"
#include "common/token_sign.h"
#include "proto/session.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/keys.h"
#include "tools/handoff/token_parts.h"

#define DEFAULT_S 3600
#define MOST_S (366 * 86400)
#define SUBJECT_MAX 255

static int refuse(const char *why) {
    return arguments_mistake("token new", "%s", why);
}

/* ---- what the token says ---- */

static const char *check(const struct token_arguments *a) {
    size_t len = strlen(a->sub);
    if (len < 1 || len > SUBJECT_MAX)
        return "--sub takes 1 to 255 bytes.";
    if (a->device && !session_device_is_valid(a->device, strlen(a->device)))
        return "--device takes 1 to 128 of A-Z a-z 0-9 . _ : - (docs/PROTOCOL.md).";
    if (a->session && !uuid_is(a->session, strlen(a->session)))
        return "--session takes a session's id: a UUID in lower case.";
    return NULL;
}

static void put_claim(struct buf *out, const char *name, const char *text) {
    if (!text || !*text)
        return;
    buf_putc(out, ',');
    buf_puts_json(out, name);
    buf_putc(out, ':');
    buf_puts_json(out, text);
}

static void put_claims(const struct token_arguments *a, const struct config *config, int64_t now_s,
                       int64_t expires_s, struct buf *out) {
    buf_puts(out, "{\"sub\":");
    buf_puts_json(out, a->sub);
    put_claim(out, "iss", a->issuer ? a->issuer : config->jwt_issuer);
    put_claim(out, "aud", a->audience ? a->audience : config->jwt_audience);
    put_claim(out, "scope", a->scope);
    put_claim(out, "device_id", a->device);
    put_claim(out, config->jwt_session_claim, a->session);
    buf_printf(out, ",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}", now_s, expires_s);
}

/* ---- what it is signed with ---- */

static int sign_by_file(struct token_signer **ret, const char *path, char **ret_error) {
    char *secret = NULL;
    int err = config_file_read(path, &secret);
    if (err < 0) {
        struct buf why = BUF_NULL;
        buf_printf(&why, "%s: %s", path, strerror(-err));
        *ret_error = buf_take(&why);
        return err;
    }
    err = token_signer_of_secret(ret, secret, ret_error);
    explicit_bzero(secret, strlen(secret));
    free(secret);
    return err;
}

static int find_signer(struct token_signer **ret, const struct token_arguments *a,
                       const struct config *config, char **ret_error) {
    if (a->key)
        return token_signer_of_file(ret, a->key, a->kid, ret_error);
    if (a->secret_file)
        return sign_by_file(ret, a->secret_file, ret_error);
    if (*config->jwt_secret)
        return token_signer_of_secret(ret, config->jwt_secret, ret_error);
    *ret_error = must_strdup("there is nothing to sign with: HANDOFF_JWT_SECRET (or …_FILE), --key "
                             "or --secret-file");
    return -1;
}

/* ---- the whole ---- */

/* What the services would say to it, as far as they are configured here. */
static void warn(const char *token, const struct config *config, int64_t now_s) {
    _cleanup_(auth_freep) struct auth *auth = NULL;
    _cleanup_(freep) char *error = NULL;
    struct principal principal;
    struct fault fault;
    if (keys_load(&auth, config, &error))
        return;
    if (auth_verify(auth, token, strlen(token), now_s, &principal, &fault) != 0)
        fprintf(stderr, "handoff: as configured here the services would refuse it: %s.\n",
                fault.detail);
    else if (!principal.rights)
        fputs("handoff: with this scope it may do nothing: it has none of sessions:read, "
              "sessions:write and sessions:admin.\n",
              stderr);
}

static void print(const char *token, int64_t expires_s, bool json) {
    char until[TIMESTAMP_LEN + 1];
    timestamp_print(expires_s * 1000, until);
    if (json)
        printf("{\"token\":\"%s\",\"expiresAt\":\"%s\"}\n", token, until);
    else
        printf("%s\n", token);
}

int token_new(const struct token_arguments *a, const struct config *config) {
    _cleanup_(token_signer_freep) struct token_signer *signer = NULL;
    _cleanup_(buf_done) struct buf claims = BUF_NULL;
    _cleanup_(freep) char *error = NULL;
    int64_t lasts_s = DEFAULT_S, now_s = timestamp_wall_ms() / 1000;
    const char *mistake = check(a);
    if (mistake)
        return refuse(mistake);
    if (a->expires && !arguments_seconds(a->expires, MOST_S, &lasts_s))
        return refuse("--expires takes a time with its unit, 90s, 15m, 1h, 7d; 366d at most.");
    if (find_signer(&signer, a, config, &error)) {
        fprintf(stderr, "handoff: %s.\n", error);
        return 2;
    }
    put_claims(a, config, now_s, now_s + lasts_s, &claims);
    _cleanup_(freep) char *token = token_sign(signer, claims.data);
    if (!token) {
        fputs("handoff: it could not be signed.\n", stderr);
        return 1;
    }
    warn(token, config, now_s);
    print(token, now_s + lasts_s, a->json);
    return fflush(stdout) == 0 ? 0 : 1;
}
