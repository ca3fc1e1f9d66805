/* Fuzzes auth_verify. The first byte chooses: the rest is a token as it came; or a payload, which
 * gets a good HS256 signature so that the claims are reached; or a header, LF and a payload, signed
 * likewise; or a payload that Handoff's own key signs, so that those of session tokens are. The
 * private keys to the public ones below are gone; their signatures live in the corpus. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/auth.h"
#include "proto/command.h"
#include "tests/jwt_maker.h"

#define NOW 1800000000LL
#define SECRET "fuzz-0123456789-0123456789-0123456789"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rsa_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA9JV3Rfjj4SH8V/O58I1E\n"
                              "F0TXXDzjG6AFCes9SPRaOj3zGKf2+gbSs3KmsOFy54CqIRM1Ho/iPZBV5okieixo\n"
                              "CZQuTGosJnioh6imNcvNGPzZGogeZP/o3sAcg2ZtCW9h88Xh/Q8WTRPimHdBLVbW\n"
                              "KbniRm4JRgi2XjdrIbFLPTpHbk0LFcRWmhduckKQbZ0HVGT9bfT94B81HaBoKRaB\n"
                              "RtEj9iCegUzK5QzpFUPSDIk8wWEsoDiHrz1IBh2E1diolXCuKv0VnsEqS1kyweR/\n"
                              "iiaCtzGeiGvYnq8xlMLY1WRRvyEra+JKNJ1jTkgbpfvdfpmzFyG/iC8fTlrk9WVo\n"
                              "SwIDAQAB\n"
                              "-----END PUBLIC KEY-----\n";
static const char ec_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                             "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEys+quGsiz8WnrP7dVEnMrDf+0O/D\n"
                             "Shq0X3I0amjMkiB4qDg+/t/qiqwyYvqG9X7p/n/LFWsL4BlS97C/mx+tPg==\n"
                             "-----END PUBLIC KEY-----\n";

/* RFC 7515's, appendix A.3: nobody's secret. */
static const char own_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff\n"
                              "H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n"
                              "7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\n"
                              "-----END PRIVATE KEY-----\n";
#define OWN_HEADER "{\"alg\":\"ES256\",\"kid\":\"oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U\"}"

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "we");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
}

/* is_bound: to an issuer and an audience. */
static struct auth *make_auth(bool is_bound) {
    char folder[] = "/tmp/handoff-fuzz-jwt-XXXXXX", rsa[64], ec[64], own[64];
    if (!mkdtemp(folder))
        abort();
    snprintf(rsa, sizeof(rsa), "%s/rsa.pem", folder);
    snprintf(ec, sizeof(ec), "%s/ec.pem", folder);
    snprintf(own, sizeof(own), "%s/own", folder);
    write_file(own, own_pem);
    write_file(rsa, rsa_pem);
    write_file(ec, ec_pem);
    static const char secret[] = "HANDOFF_JWT_SECRET=" SECRET;
    const char *environment[] = {
        "HANDOFF_JWT_ALGORITHMS=HS256,RS256,ES256", secret, NULL, NULL, NULL, NULL, NULL};
    char keys[96], own_key[96];
    snprintf(keys, sizeof(keys), "HANDOFF_JWT_KEYS=%s", folder);
    environment[2] = keys;
    snprintf(own_key, sizeof(own_key), "HANDOFF_SESSION_TOKEN_KEY=%s", own);
    environment[3] = own_key;
    environment[4] = is_bound ? "HANDOFF_JWT_AUDIENCE=handoff" : NULL;
    environment[5] = is_bound ? "HANDOFF_JWT_ISSUER=https://idp.example" : NULL;
    struct config config;
    struct auth *auth = NULL;
    char *error = NULL;
    if (config_load(CONFIG_SESSION_API, environment, &config, stderr) < 0 ||
        auth_new(&auth, &config, &error) < 0)
        abort();
    config_done(&config);
    unlink(rsa);
    unlink(ec);
    unlink(own);
    rmdir(folder);
    return auth;
}

static void put_own(struct buf *token, const char *payload, size_t len) {
    static EVP_PKEY *key;
    BIO *bio = BIO_new_mem_buf(own_pem, -1);
    if (!key)
        key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    jwt_put_input(token, OWN_HEADER, payload, len);
    jwt_sign_key(token, key);
}

static void put_token(struct buf *token, const uint8_t *data, size_t size) {
    static const char good_header[] = "{\"alg\":\"HS256\"}";
    uint8_t mode = size ? data[0] % 4 : 0;
    const char *text = (const char *)data + (size ? 1 : 0);
    size_t len = size ? size - 1 : 0;
    if (mode == 0) {
        buf_put(token, text, len);
        return;
    }
    if (mode == 3) {
        put_own(token, text, len);
        return;
    }
    const char *line = mode == 2 ? memchr(text, '\n', len) : NULL;
    _cleanup_(freep) char *header =
        line ? must_memdup(text, (size_t)(line - text)) : must_strdup(good_header);
    const char *payload = line ? line + 1 : text;
    jwt_put_input(token, header, payload, (size_t)(text + len - payload));
    jwt_sign_hmac(token, EVP_sha256(), SECRET);
}

static void check(int r, const struct principal *p, const struct fault *f) {
    if (r != 0) {
        if ((r != FAULT_UNAUTHENTICATED && r != FAULT_TOKEN_EXPIRED) || r != (int)f->code)
            abort();
        return;
    }
    if (!uuid_is(p->user_id, strlen(p->user_id)) || p->expires_at <= NOW - 30)
        abort();
    if (*p->device_id && !session_device_is_valid(p->device_id, strlen(p->device_id)))
        abort();
    if (*p->session_id && !uuid_is(p->session_id, strlen(p->session_id)))
        abort();
    if (p->is_session_token && (!*p->session_id || !*p->device_id || p->rights & COMMAND_ADMIN))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct auth *auth, *bound;
    if (!auth) {
        auth = make_auth(false);
        bound = make_auth(true);
    }
    struct buf token = BUF_NULL;
    buf_reserve(&token, 1);
    put_token(&token, data, size);
    struct principal first = {0}, again = {0};
    struct fault f = {0};
    int r = auth_verify(auth, token.data, token.len, NOW, &first, &f);
    check(r, &first, &f);
    if (auth_verify(auth, token.data, token.len, NOW, &again, &f) != r)
        abort();
    /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-*): both began as zeroes */
    if (memcmp(&first, &again, sizeof(first)) != 0)
        abort();
    /* Who is bound takes nothing that the other does not. */
    struct principal of_bound = {0};
    int r_bound = auth_verify(bound, token.data, token.len, NOW, &of_bound, &f);
    check(r_bound, &of_bound, &f);
    if (r_bound == 0 && r != 0)
        abort();
    buf_done(&token);
    return 0;
}
