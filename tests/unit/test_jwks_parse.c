/* common/jwks_parse: which keys of a set are taken, and as what; that all else is ignored or
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "common/jwks_parse.h"
#include "tests/jwks_maker.h"

/* RFC 7517, appendix A.1 (the EC key there is for encryption: without its use here). */
#define RFC_X "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"
#define RFC_Y "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
#define RFC_N                                                                                      \
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"      \
    "BJECPe"                                                                                       \
    "bWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_"           \
    "FDW2QvzqY36"                                                                                  \
    "8QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-"                       \
    "bFTWhAI4vMQFh6WeZu0fM4l"                                                                      \
    "Fd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
#define EC "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" RFC_X "\",\"y\":\"" RFC_Y "\""
#define RSA "\"kty\":\"RSA\",\"n\":\"" RFC_N "\",\"e\":\"AQAB\""
#define RSA_OF(n, e) "{\"kid\":\"k\",\"kty\":\"RSA\",\"n\":\"" n "\",\"e\":\"" e "\"}"

static struct jwks_set parse(const char *text) {
    struct jwks_set s = {0};
    const char *why = NULL;
    if (jwks_parse(text, strlen(text), &s, &why) != 0)
        fail_msg("%s: %.500s", why, text);
    assert_null(why);
    return s;
}

/* The set of that one key. */
static struct jwks_set parse_one(const char *key) {
    struct buf text = BUF_NULL;
    buf_printf(&text, "{\"keys\":[%s]}", key);
    struct jwks_set s = parse(text.data);
    buf_done(&text);
    assert_int_equal(s.keys.n + s.n_ignored, 1);
    return s;
}

static void check_ignored(const char *key, const char *why) {
    struct jwks_set s = parse_one(key);
    if (s.keys.n || !strstr(s.ignored[0].why, why))
        fail_msg("\"%s\" and not \"%s\": %.300s", s.keys.n ? "taken" : s.ignored[0].why, why, key);
    jwks_set_done(&s);
}

static void check_taken(const char *key, enum auth_algorithm algorithm) {
    struct jwks_set s = parse_one(key);
    if (!s.keys.n)
        fail_msg("%s: %.300s", s.ignored[0].why, key);
    assert_int_equal(s.keys.keys[0].algorithm, algorithm);
    assert_non_null(strstr(s.keys.keys[0].pem, "BEGIN PUBLIC KEY"));
    jwks_set_done(&s);
}

static void check_refused(const char *text, size_t len, const char *why) {
    struct jwks_set s = {.n_ignored = 77};
    const char *said = NULL;
    assert_int_equal(jwks_parse(text, len, &s, &said), -EINVAL);
    if (!strstr(said, why))
        fail_msg("\"%s\" and not \"%s\": %.100s", said, why, text);
    assert_int_equal(s.n_ignored, 77);
}

static void check_is(const struct auth_key *key, const EVP_PKEY *expected) {
    BIO *bio = BIO_new_mem_buf(key->pem, -1);
    EVP_PKEY *read = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    assert_int_equal(EVP_PKEY_eq(read, expected), 1);
    EVP_PKEY_free(read);
    BIO_free(bio);
}

static void test_the_key_is_the_very_one(void **state) {
    (void)state;
    EVP_PKEY *const keys[] = {EVP_RSA_gen(2048), EVP_EC_gen("P-256"), EVP_RSA_gen(3072)};
    struct buf text = BUF_NULL;
    buf_puts(&text, "{\"keys\":[");
    jwks_put_key(&text, keys[0], "a", "\"use\":\"sig\",\"alg\":\"RS256\",");
    buf_putc(&text, ',');
    jwks_put_key(&text, keys[1], "b", "\"alg\":\"ES256\",\"key_ops\":[\"sign\",\"verify\"],");
    buf_putc(&text, ',');
    jwks_put_key(&text, keys[2], "c", "\"x5t\":7,");
    buf_puts(&text, "],\"more\":null}");
    struct jwks_set s = parse(text.data);
    assert_int_equal(s.keys.n, 3);
    assert_int_equal(s.n_ignored, 0);
    static const char *const kids[] = {"a", "b", "c"};
    static const enum auth_algorithm algorithms[] = {AUTH_RS256, AUTH_ES256, AUTH_RS256};
    for (size_t i = 0; i < N_ELEMENTS(kids); i++) {
        assert_string_equal(s.keys.keys[i].kid, kids[i]);
        assert_int_equal(s.keys.keys[i].algorithm, algorithms[i]);
        check_is(&s.keys.keys[i], keys[i]);
        EVP_PKEY_free(keys[i]);
    }
    jwks_set_done(&s);
    buf_done(&text);
}

static void test_keys_of_the_rfc_are_taken(void **state) {
    (void)state;
    check_taken("{\"kid\":\"1\"," EC "}", AUTH_ES256);
    check_taken("{\"kid\":\"2011-04-29\",\"alg\":\"RS256\"," RSA "}", AUTH_RS256);
}

static void test_a_private_member_is_not_looked_at(void **state) {
    (void)state;
    check_taken("{\"kid\":\"1\",\"d\":\"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE\"," EC "}",
                AUTH_ES256);
    check_taken("{\"kid\":\"1\",\"d\":7,\"p\":[],\"oth\":{}," RSA "}", AUTH_RS256);
}

static void test_keys_for_something_else_are_ignored(void **state) {
    (void)state;
    check_ignored("{\"kid\":\"k\",\"use\":\"enc\"," RSA "}", "use");
    check_ignored("{\"kid\":\"k\",\"use\":7," RSA "}", "use");
    check_ignored("{\"kid\":\"k\",\"key_ops\":[]," RSA "}", "key_ops");
    check_ignored("{\"kid\":\"k\",\"key_ops\":[\"encrypt\",7]," EC "}", "key_ops");
    check_ignored("{\"kid\":\"k\",\"key_ops\":\"verify\"," EC "}", "key_ops");
    check_ignored("{\"kid\":\"k\",\"alg\":\"RSA-OAEP\"," RSA "}", "alg");
    check_ignored("{\"kid\":\"k\",\"alg\":\"RS512\"," RSA "}", "alg");
    check_ignored("{\"kid\":\"k\",\"alg\":\"ES256\"," RSA "}", "alg");
    check_ignored("{\"kid\":\"k\",\"alg\":\"HS256\"," EC "}", "alg");
    check_ignored("{\"kid\":\"k\",\"alg\":null," EC "}", "alg");
    check_ignored("{\"kid\":\"k\",\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}", "kty");
    check_ignored("{\"kid\":\"k\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" RFC_X "\"}", "kty");
    check_ignored("{\"kid\":\"k\",\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" RFC_X
                  "\",\"y\":\"" RFC_Y "\"}",
                  "crv");
}

static void test_keys_that_cannot_be_are_ignored(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{\"kid\":\"k\",\"kty\":\"RSA\"}",
        "{\"kid\":\"k\",\"kty\":\"RSA\",\"n\":7,\"e\":\"AQAB\"}",
        RSA_OF("", "AQAB"),
        RSA_OF("!!!!", "AQAB"),
        RSA_OF("A", "AQAB"),
        RSA_OF("AAAAA=AA", "AQAB"),
        RSA_OF("AAAA+/AA", "AQAB"),
        RSA_OF(RFC_N, "A===AAAA"),
        RSA_OF(RFC_N "=", "AQAB"),
        RSA_OF(RFC_N, ""),
        RSA_OF(RFC_N, "AQ"),   /* 1: anybody could sign */
        RSA_OF(RFC_N, "AQAA"), /* even */
        RSA_OF(RFC_N, "AAAA"), /* 0 */
        RSA_OF(RFC_N, RFC_N),  /* so large that each check is slow */
        "{\"kid\":\"k\",\"kty\":\"EC\",\"crv\":\"P-256\"}",
        "{\"kid\":\"k\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" RFC_X "\",\"y\":\"" RFC_X "\"}",
        "{\"kid\":\"k\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" RFC_X "\",\"y\":\"AAAA\"}",
        "{\"kid\":\"k\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" RFC_X "\",\"y\":null}",
    };
    for (size_t i = 0; i < N_ELEMENTS(bad); i++)
        check_ignored(bad[i], "its public members make no key");
}

static void test_a_short_rsa_key_is_ignored(void **state) {
    (void)state;
    EVP_PKEY *key = EVP_RSA_gen(2047);
    struct buf text = BUF_NULL;
    jwks_put_key(&text, key, "k", "");
    check_ignored(text.data, "2048");
    EVP_PKEY_free(key);
    buf_done(&text);
}

static void test_a_kid_is_needed_and_bounded(void **state) {
    (void)state;
    struct buf text = BUF_NULL;
    check_ignored("{" EC "}", "kid");
    check_ignored("{\"kid\":\"\"," EC "}", "kid");
    check_ignored("{\"kid\":7," EC "}", "kid");
    check_ignored("7", "is no object");
    check_ignored("null", "is no object");
    buf_printf(&text, "{\"kid\":\"%0255d\"," EC "}", 7);
    check_taken(text.data, AUTH_ES256);
    buf_clear(&text);
    buf_printf(&text, "{\"kid\":\"%0256d\"," EC "}", 7);
    check_ignored(text.data, "kid");
    buf_done(&text);
}

static void test_of_two_with_one_kid_the_first_counts(void **state) {
    (void)state;
    struct jwks_set s = parse("{\"keys\":[{\"kid\":\"k\"," EC "},{\"kid\":\"k\"," RSA "}]}");
    assert_int_equal(s.keys.n, 1);
    assert_int_equal(s.keys.keys[0].algorithm, AUTH_ES256);
    assert_int_equal(s.n_ignored, 1);
    assert_string_equal(s.ignored[0].kid, "k");
    jwks_set_done(&s);
}

static void test_what_is_no_set_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"", "{", "<html>", "{\"keys\":[]}x",
                                        "{\"keys\":[],\"keys\":[]}"};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        check_refused(texts[i], strlen(texts[i]), "not JSON");
    static const char *const others[] = {
        "{}", "[]", "7", "null", "{\"keys\":{}}", "{\"keys\":\"\"}"};
    for (size_t i = 0; i < N_ELEMENTS(others); i++)
        check_refused(others[i], strlen(others[i]), "no array");
}

static void test_an_empty_set_is_one(void **state) {
    (void)state;
    struct jwks_set s = parse("{\"keys\":[]}");
    assert_int_equal(s.keys.n, 0);
    jwks_set_done(&s);
}

static void put_many(struct buf *text, int n) {
    buf_puts(text, "{\"keys\":[");
    for (int i = 0; i < n; i++)
        buf_printf(text, "%s{\"kid\":\"%d\"," EC "}", i ? "," : "", i);
    buf_puts(text, "]}");
}

static void test_64_keys_are_the_most(void **state) {
    (void)state;
    struct buf text = BUF_NULL;
    put_many(&text, JWKS_KEYS_MAX);
    struct jwks_set s = parse(text.data);
    assert_int_equal(s.keys.n, JWKS_KEYS_MAX);
    jwks_set_done(&s);
    buf_clear(&text);
    put_many(&text, JWKS_KEYS_MAX + 1);
    check_refused(text.data, text.len, "over 64 keys");
    buf_done(&text);
}

static void test_256_kib_are_the_most(void **state) {
    (void)state;
    struct buf text = BUF_NULL;
    buf_puts(&text, "{\"keys\":[{\"kid\":\"k\"," EC "}]}");
    while (text.len < JWKS_BYTES_MAX)
        buf_putc(&text, ' ');
    struct jwks_set s = parse(text.data);
    assert_int_equal(s.keys.n, 1);
    jwks_set_done(&s);
    buf_putc(&text, ' ');
    check_refused(text.data, text.len, "over 256 KiB");
    buf_done(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_key_is_the_very_one),
        cmocka_unit_test(test_keys_of_the_rfc_are_taken),
        cmocka_unit_test(test_a_private_member_is_not_looked_at),
        cmocka_unit_test(test_keys_for_something_else_are_ignored),
        cmocka_unit_test(test_keys_that_cannot_be_are_ignored),
        cmocka_unit_test(test_a_short_rsa_key_is_ignored),
        cmocka_unit_test(test_a_kid_is_needed_and_bounded),
        cmocka_unit_test(test_of_two_with_one_kid_the_first_counts),
        cmocka_unit_test(test_what_is_no_set_is_refused),
        cmocka_unit_test(test_an_empty_set_is_one),
        cmocka_unit_test(test_64_keys_are_the_most),
        cmocka_unit_test(test_256_kib_are_the_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
