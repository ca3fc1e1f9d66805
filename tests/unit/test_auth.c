/* common/auth: every good kind of token, and every forged kind that contract section 1 lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "proto/command.h"
#include "tests/auth_setup.h"

/* Keys are made once: RSA keys take their time. */
static struct {
    char folder[64];
    EVP_PKEY *rsa, *ec, *stranger;
    char *rsa_pem;
} keys;

static int make_keys(void **state) {
    (void)state;
    strcpy(keys.folder, "/tmp/handoff-test-auth-XXXXXX");
    if (!mkdtemp(keys.folder))
        return -1;
    keys.rsa = EVP_RSA_gen(2048);
    keys.ec = EVP_EC_gen("P-256");
    keys.stranger = EVP_RSA_gen(2048);
    jwt_write_public_key(keys.rsa, keys.folder, "rsa-1.pem", &keys.rsa_pem);
    jwt_write_public_key(keys.ec, keys.folder, "ec-1.pem", NULL);
    return 0;
}

static void remove_file(const char *name) {
    struct buf path = BUF_NULL;
    buf_printf(&path, "%s/%s", keys.folder, name);
    unlink(path.data);
    buf_done(&path);
}

static int drop_keys(void **state) {
    (void)state;
    remove_file("rsa-1.pem");
    remove_file("ec-1.pem");
    rmdir(keys.folder);
    EVP_PKEY_free(keys.rsa);
    EVP_PKEY_free(keys.ec);
    EVP_PKEY_free(keys.stranger);
    free(keys.rsa_pem);
    return 0;
}

static struct auth *all_kinds(void) {
    return must_auth(&(struct setup){.algorithms = "HS256,RS256,ES256",
                                     .secret = SECRET,
                                     .previous = PREVIOUS,
                                     .folder = keys.folder});
}

static struct buf key_token(const char *header, const char *claims, EVP_PKEY *key) {
    struct buf token = BUF_NULL, payload = BUF_NULL;
    buf_printf(&payload, "{%s}", claims);
    jwt_put_input(&token, header, payload.data, payload.len);
    jwt_sign_key(&token, key);
    buf_done(&payload);
    return token;
}

static void test_each_good_kind_is_taken(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    struct principal p;
    check_taken(a, hmac_token(HS256, GOOD, SECRET), &p);
    assert_string_equal(p.user_id, USER);
    assert_string_equal(p.device_id, "");
    assert_int_equal(p.rights, COMMAND_READ | COMMAND_WRITE);
    assert_int_equal(p.expires_at, NOW + 600);
    check_taken(a, hmac_token(HS256, GOOD, PREVIOUS), NULL);
    check_taken(a, hmac_token("{\"alg\":\"HS256\"}", GOOD, SECRET), NULL);
    check_taken(a, hmac_token("{\"alg\":\"HS256\",\"typ\":\"jwt\"}", GOOD, SECRET), NULL);
    check_taken(a, hmac_token("{\"kid\":\"whatever\",\"alg\":\"HS256\"}", GOOD, SECRET), NULL);
    check_taken(a, key_token("{\"alg\":\"RS256\",\"kid\":\"rsa-1\"}", GOOD, keys.rsa), &p);
    assert_string_equal(p.user_id, USER);
    check_taken(a, key_token("{\"alg\":\"ES256\",\"kid\":\"ec-1\"}", GOOD, keys.ec), &p);
    assert_string_equal(p.user_id, USER);
    auth_free(a);
}

static void test_alg_none_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    static const char *const headers[] = {"{\"alg\":\"none\"}", "{\"alg\":\"None\"}",
                                          "{\"alg\":\"NONE\"}", "{}", "{\"alg\":null}"};
    for (size_t i = 0; i < N_ELEMENTS(headers); i++) {
        check_refused(a, hmac_token(headers[i], GOOD, SECRET), UNAUTHENTICATED, "alg");
        struct buf unsigned_token = BUF_NULL;
        jwt_put_input(&unsigned_token, headers[i], "{" GOOD "}", strlen("{" GOOD "}"));
        buf_putc(&unsigned_token, '.');
        check_refused(a, unsigned_token, UNAUTHENTICATED, "three parts");
    }
    auth_free(a);
}

static void test_an_algorithm_outside_the_list_is_refused(void **state) {
    (void)state;
    struct auth *hmac = must_auth(&hmac_only);
    check_refused(hmac, key_token("{\"alg\":\"RS256\",\"kid\":\"rsa-1\"}", GOOD, keys.rsa),
                  UNAUTHENTICATED, "alg");
    auth_free(hmac);
    struct auth *rsa =
        must_auth(&(struct setup){.algorithms = "RS256", .secret = SECRET, .folder = keys.folder});
    check_refused(rsa, hmac_token(HS256, GOOD, SECRET), UNAUTHENTICATED, "alg");
    check_refused(rsa, key_token("{\"alg\":\"ES256\",\"kid\":\"ec-1\"}", GOOD, keys.ec),
                  UNAUTHENTICATED, "alg");
    auth_free(rsa);
    struct auth *a = all_kinds();
    static const char *const others[] = {"HS384", "HS512",  "RS512", "PS256", "EdDSA",
                                         "hs256", "HS256 ", "HS25",  ""};
    for (size_t i = 0; i < N_ELEMENTS(others); i++) {
        struct buf header = BUF_NULL;
        buf_printf(&header, "{\"alg\":\"%s\"}", others[i]);
        check_refused(a, hmac_token(header.data, GOOD, SECRET), UNAUTHENTICATED, "alg");
        buf_done(&header);
    }
    struct buf hs512 = BUF_NULL; /* rightly signed, with the right secret */
    jwt_put_input(&hs512, "{\"alg\":\"HS512\"}", "{" GOOD "}", strlen("{" GOOD "}"));
    jwt_sign_hmac(&hs512, EVP_sha512(), SECRET);
    check_refused(a, hs512, UNAUTHENTICATED, "alg");
    auth_free(a);
}

static void test_a_public_key_is_no_secret(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    struct auth *rsa =
        must_auth(&(struct setup){.algorithms = "RS256,ES256", .folder = keys.folder});
    static const char header[] = "{\"alg\":\"HS256\",\"kid\":\"rsa-1\"}";
    check_refused(a, hmac_token(header, GOOD, keys.rsa_pem), UNAUTHENTICATED, "signature");
    check_refused(rsa, hmac_token(header, GOOD, keys.rsa_pem), UNAUTHENTICATED, "alg");
    static const char lie[] = "{\"alg\":\"RS256\",\"kid\":\"rsa-1\"}";
    check_refused(a, hmac_token(lie, GOOD, keys.rsa_pem), UNAUTHENTICATED, "signature");
    auth_free(a);
    auth_free(rsa);
}

static void test_a_key_of_another_kind_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    check_refused(a, key_token("{\"alg\":\"RS256\",\"kid\":\"ec-1\"}", GOOD, keys.rsa),
                  UNAUTHENTICATED, "kind");
    check_refused(a, key_token("{\"alg\":\"ES256\",\"kid\":\"rsa-1\"}", GOOD, keys.ec),
                  UNAUTHENTICATED, "kind");
    auth_free(a);
}

static void test_kid_chooses_and_an_unknown_one_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    static const char *const bad[] = {"\"rsa-2\"", "\"\"", "\"../rsa-1\"", "\"rsa-1.pem\"",
                                      "\"RSA-1\"", "7",    "null"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct buf header = BUF_NULL;
        buf_printf(&header, "{\"alg\":\"RS256\",\"kid\":%s}", bad[i]);
        check_refused(a, key_token(header.data, GOOD, keys.rsa), UNAUTHENTICATED, "kid");
        buf_done(&header);
    }
    check_refused(a, key_token("{\"alg\":\"RS256\"}", GOOD, keys.rsa), UNAUTHENTICATED,
                  "not just one key");
    auth_free(a);
}

static void test_without_kid_the_only_key_is_taken(void **state) {
    (void)state;
    char folder[] = "/tmp/handoff-test-auth-one-XXXXXX";
    assert_non_null(mkdtemp(folder));
    jwt_write_public_key(keys.ec, folder, "only.pem", NULL);
    struct auth *a = must_auth(&(struct setup){.algorithms = "ES256", .folder = folder});
    check_taken(a, key_token("{\"alg\":\"ES256\"}", GOOD, keys.ec), NULL);
    auth_free(a);
    struct buf path = BUF_NULL;
    buf_printf(&path, "%s/only.pem", folder);
    unlink(path.data);
    buf_done(&path);
    rmdir(folder);
}

static void test_a_bad_signature_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    check_refused(a, hmac_token(HS256, GOOD, "another-secret-0123456789-0123456"), UNAUTHENTICATED,
                  "signature");
    check_refused(a, key_token("{\"alg\":\"RS256\",\"kid\":\"rsa-1\"}", GOOD, keys.stranger),
                  UNAUTHENTICATED, "signature");
    struct buf zero = BUF_NULL; /* CVE-2022-21449: r = s = 0 */
    static const unsigned char zeros[64];
    jwt_put_input(&zero, "{\"alg\":\"ES256\",\"kid\":\"ec-1\"}", "{" GOOD "}",
                  strlen("{" GOOD "}"));
    buf_putc(&zero, '.');
    jwt_put_base64url(&zero, zeros, sizeof(zeros));
    check_refused(a, zero, UNAUTHENTICATED, "signature");
    auth_free(a);
}

static void test_every_changed_character_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    struct buf good = hmac_token(HS256, GOOD, SECRET);
    struct principal p;
    struct fault f;
    for (size_t i = 0; i < good.len; i++) {
        char was = good.data[i];
        good.data[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(auth_verify(a, good.data, good.len, NOW, &p, &f), UNAUTHENTICATED);
        good.data[i] = was;
    }
    for (size_t len = 0; len < good.len; len++)
        assert_int_equal(auth_verify(a, good.data, len, NOW, &p, &f), UNAUTHENTICATED);
    check_taken(a, good, NULL);
    auth_free(a);
}

static void test_a_wrong_shape_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    static const char *const ends[] = {".", "=", "==", ".AAAA", " ", "\n", "+", "/", "%"};
    for (size_t i = 0; i < N_ELEMENTS(ends); i++) {
        struct buf token = hmac_token(HS256, GOOD, SECRET);
        buf_puts(&token, ends[i]);
        check_refused(a, token, UNAUTHENTICATED, "");
    }
    static const char *const shapes[] = {"", ".", "..", "...", "a", "a.b", "a.b.c", "a..c", ".b.c"};
    for (size_t i = 0; i < N_ELEMENTS(shapes); i++) {
        struct buf token = BUF_NULL;
        buf_puts(&token, shapes[i]);
        check_refused(a, token, UNAUTHENTICATED, "");
    }
    struct buf empty_signature = BUF_NULL;
    jwt_put_input(&empty_signature, HS256, "{" GOOD "}", strlen("{" GOOD "}"));
    buf_putc(&empty_signature, '.');
    check_refused(a, empty_signature, UNAUTHENTICATED, "three parts");
    struct buf nul = hmac_token(HS256, GOOD, SECRET);
    buf_put(&nul, "\0x", 2);
    check_refused(a, nul, UNAUTHENTICATED, "base64url");
    auth_free(a);
}

static void test_a_bad_header_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    check_refused(a, hmac_token("{\"alg\":\"none\",\"alg\":\"HS256\"}", GOOD, SECRET),
                  UNAUTHENTICATED, "header is not JSON");
    check_refused(a, hmac_token("[\"HS256\"]", GOOD, SECRET), UNAUTHENTICATED, "alg");
    check_refused(a, hmac_token("HS256", GOOD, SECRET), UNAUTHENTICATED, "not JSON");
    check_refused(a, hmac_token("{\"alg\":\"HS256\"}x", GOOD, SECRET), UNAUTHENTICATED, "not JSON");
    check_refused(a,
                  hmac_token("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", GOOD, SECRET),
                  UNAUTHENTICATED, "crit");
    check_refused(a, hmac_token("{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", GOOD, SECRET),
                  UNAUTHENTICATED, "typ");
    check_refused(a, hmac_token("{\"alg\":\"HS256\",\"typ\":7}", GOOD, SECRET), UNAUTHENTICATED,
                  "typ");
    auth_free(a);
}

static void test_a_token_over_8_kib_is_refused(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    _cleanup_(freep) char *claims = must_alloc(10240 + 100);
    int n = snprintf(claims, 100, "%s,\"x\":\"", GOOD);
    memset(claims + n, 'x', 10240);
    strcpy(claims + n + 10240, "\"");
    check_refused(a, hmac_token(HS256, claims, SECRET), UNAUTHENTICATED, "8192");
    strcpy(claims + n + 5900, "\"");
    struct buf large = hmac_token(HS256, claims, SECRET);
    assert_in_range(large.len, 7900, 8192);
    check_taken(a, large, NULL);
    auth_free(a);
}

static void test_the_cache_is_bounded_and_right(void **state) {
    (void)state;
    struct auth *a = must_auth(&hmac_only);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 12000; i++) { /* more than it holds */
            struct buf claims = BUF_NULL;
            buf_printf(&claims, "\"exp\":1800000600,\"sub\":\"00000000-0000-7000-8000-%012d\"", i);
            struct buf token = hmac_token(HS256, claims.data, SECRET);
            struct principal p;
            struct fault f;
            assert_int_equal(auth_verify(a, token.data, token.len, NOW, &p, &f), 0);
            assert_int_equal(atoi(p.user_id + 24), i);
            buf_done(&token);
            buf_done(&claims);
        }
    auth_free(a);
}

static void check_config(const struct setup *s, const char *why) {
    struct auth *a = NULL;
    char *error = NULL;
    assert_int_equal(auth_of(s, &a, &error), -EINVAL);
    assert_null(a);
    if (!strstr(error, why))
        fail_msg("\"%s\" is not in \"%s\"", why, error);
    free(error);
}

static void test_a_service_without_a_key_refuses_to_start(void **state) {
    (void)state;
    check_config(&(struct setup){.algorithms = "HS256"}, "HANDOFF_JWT_SECRET is needed");
    check_config(
        &(struct setup){.algorithms = "HS256", .secret = "0123456789012345678901234567890"},
        "under 32 bytes");
    check_config(&(struct setup){.algorithms = "HS256", .secret = SECRET, .previous = "short"},
                 "HANDOFF_JWT_SECRET_PREVIOUS has under 32 bytes");
    check_config(&(struct setup){.algorithms = "HS256,RS256", .secret = SECRET},
                 "HANDOFF_JWT_KEYS has no RSA key");
    check_config(&(struct setup){.algorithms = "ES256", .secret = SECRET}, "no P-256 key");
    check_config(&(struct setup){.algorithms = "RS256", .folder = "/nowhere"}, "/nowhere No such");
    check_config(&(struct setup){.algorithms = "none", .secret = SECRET}, "allowed: HS256");
}

static void check_key_file(const char *text, EVP_PKEY *key, const char *why) {
    struct buf path = BUF_NULL;
    buf_printf(&path, "%s/bad.pem", keys.folder);
    if (!text) {
        jwt_write_public_key(key, keys.folder, "bad.pem", NULL);
    } else {
        FILE *file = fopen(path.data, "we");
        assert_non_null(file);
        fprintf(file, "%s", text);
        fclose(file);
    }
    check_config(&(struct setup){.algorithms = "RS256", .folder = keys.folder}, why);
    unlink(path.data);
    buf_done(&path);
    EVP_PKEY_free(key);
}

static void test_weak_or_odd_key_files_refuse_the_start(void **state) {
    (void)state;
    check_key_file(NULL, EVP_RSA_gen(1024), "bad.pem is no key that is allowed");
    check_key_file(NULL, EVP_EC_gen("P-384"), "bad.pem is no key that is allowed");
    check_key_file(NULL, EVP_EC_gen("secp256k1"), "bad.pem is no key that is allowed");
    check_key_file(NULL, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), "is no key that is allowed");
    check_key_file("", NULL, "bad.pem is no public key in PEM form");
    check_key_file("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", NULL,
                   "bad.pem is no public key in PEM form");
}

static void check_bearer(const char *header, const char *expected) {
    size_t len = 0;
    const char *token = auth_bearer(header, &len);
    if (!expected) {
        assert_null(token);
        return;
    }
    assert_non_null(token);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(token, expected, len);
}

static void test_bearer_finds_the_token(void **state) {
    (void)state;
    check_bearer("Bearer abc.d-e_f.g", "abc.d-e_f.g");
    check_bearer("bearer abc", "abc");
    check_bearer("BEARER   abc== ", "abc==");
    check_bearer(NULL, NULL);
    check_bearer("", NULL);
    check_bearer("Bearer", NULL);
    check_bearer("Bearer ", NULL);
    check_bearer("Bearerabc", NULL);
    check_bearer("Basic abc", NULL);
    check_bearer("Bearer abc def", NULL);
    check_bearer("Bearer abc, Bearer def", NULL);
    check_bearer("Bearer abc\tdef", NULL);
}

/* Which of the keys verified a token is remembered: with it gone, so is the token, cached or not.
 */
static void test_keys_give_way_to_others(void **state) {
    (void)state;
    struct auth *a = all_kinds();
    struct principal hmac, previous, rsa, ec;
    struct buf tokens[] = {hmac_token(HS256, GOOD, SECRET), hmac_token(HS256, GOOD, PREVIOUS),
                           key_token("{\"alg\":\"RS256\",\"kid\":\"rsa-1\"}", GOOD, keys.rsa),
                           key_token("{\"alg\":\"ES256\",\"kid\":\"ec-1\"}", GOOD, keys.ec)};
    struct principal *who[] = {&hmac, &previous, &rsa, &ec};
    struct fault f = {0};
    for (size_t i = 0; i < N_ELEMENTS(tokens); i++)
        assert_int_equal(auth_verify(a, tokens[i].data, tokens[i].len, NOW, who[i], &f), 0);
    assert_int_equal(auth_n_keys(a), 4);
    assert_int_equal(auth_n_demands(a), 0);
    struct auth *fresh = must_auth(&(struct setup){
        .algorithms = "HS256", .secret = "third--0123456789-0123456789-012", .previous = SECRET});
    assert_int_equal(auth_take(a, fresh), 3);
    auth_free(fresh);
    assert_int_equal(auth_n_keys(a), 2);
    assert_int_equal(auth_n_demands(a), 1);
    for (size_t i = 0; i < N_ELEMENTS(tokens); i++) {
        assert_int_equal(auth_has_key_of(a, who[i]), i == 0);
        assert_int_equal(auth_verify(a, tokens[i].data, tokens[i].len, NOW, who[i], &f),
                         i == 0 ? 0 : FAULT_UNAUTHENTICATED);
        buf_done(&tokens[i]);
    }
    auth_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_good_kind_is_taken),
        cmocka_unit_test(test_alg_none_is_refused),
        cmocka_unit_test(test_an_algorithm_outside_the_list_is_refused),
        cmocka_unit_test(test_a_public_key_is_no_secret),
        cmocka_unit_test(test_a_key_of_another_kind_is_refused),
        cmocka_unit_test(test_kid_chooses_and_an_unknown_one_is_refused),
        cmocka_unit_test(test_without_kid_the_only_key_is_taken),
        cmocka_unit_test(test_a_bad_signature_is_refused),
        cmocka_unit_test(test_every_changed_character_is_refused),
        cmocka_unit_test(test_a_wrong_shape_is_refused),
        cmocka_unit_test(test_a_bad_header_is_refused),
        cmocka_unit_test(test_a_token_over_8_kib_is_refused),
        cmocka_unit_test(test_the_cache_is_bounded_and_right),
        cmocka_unit_test(test_a_service_without_a_key_refuses_to_start),
        cmocka_unit_test(test_weak_or_odd_key_files_refuse_the_start),
        cmocka_unit_test(test_bearer_finds_the_token),
        cmocka_unit_test(test_keys_give_way_to_others),
    };
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
