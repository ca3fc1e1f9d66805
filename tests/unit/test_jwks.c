/* common/jwks: what a token's kid finds, and when keys are fetched: hourly, for a kid that is not
 * there at most once a minute, after failures later and later. And common/auth with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "common/jwks.h"
#include "tests/auth_setup.h"
#include "tests/jwks_maker.h"

#define HOUR 3600000
#define MINUTE 60000
#define SECOND 1000
#define START 5000000 /* ms */

static EVP_PKEY *rsa, *ec, *other;

static int make_keys(void **state) {
    (void)state;
    rsa = EVP_RSA_gen(2048);
    ec = EVP_EC_gen("P-256");
    other = EVP_EC_gen("P-256");
    return 0;
}

static int drop_keys(void **state) {
    (void)state;
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(other);
    return 0;
}

/* The provider answers with these, named after their place in "abc"; NULL: not there. */
static bool fetch(struct jwks *j, int64_t now_ms, EVP_PKEY *a, EVP_PKEY *b, EVP_PKEY *c) {
    EVP_PKEY *const keys[] = {a, b, c};
    static const char *const kids[] = {"a", "b", "c"};
    struct buf text = BUF_NULL;
    struct jwks_set set = {0};
    const char *why = NULL;
    buf_puts(&text, "{\"keys\":[null");
    for (size_t i = 0; i < N_ELEMENTS(keys); i++)
        if (keys[i]) {
            buf_putc(&text, ',');
            jwks_put_key(&text, keys[i], kids[i], "");
        }
    buf_puts(&text, "]}");
    assert_int_equal(jwks_parse(text.data, text.len, &set, &why), 0);
    jwks_begin(j);
    assert_true(jwks_due_ms(j) == INT64_MAX);
    bool has_changed = jwks_succeed(j, now_ms, &set);
    jwks_set_done(&set);
    buf_done(&text);
    return has_changed;
}

/* ---- when ---- */

static void test_the_first_fetch_is_due_at_once_and_then_hourly(void **state) {
    (void)state;
    struct jwks *j = jwks_new(HOUR);
    assert_true(jwks_due_ms(j) <= 0);
    assert_false(jwks_is_loaded(j));
    assert_true(fetch(j, START, rsa, NULL, NULL));
    assert_true(jwks_is_loaded(j));
    assert_int_equal(jwks_due_ms(j), START + HOUR);
    assert_false(fetch(j, START + HOUR + 7, rsa, NULL, NULL));
    assert_int_equal(jwks_due_ms(j), START + 2 * HOUR + 7);
    jwks_free(j);
}

static void test_a_miss_brings_a_fetch_forward_once_a_minute(void **state) {
    (void)state;
    struct jwks *j = jwks_new(HOUR);
    fetch(j, START, rsa, NULL, NULL);
    int64_t now = START + 1;
    assert_int_equal(jwks_miss_at(j, now), SECOND);
    assert_int_equal(jwks_due_ms(j), now);
    assert_int_equal(jwks_miss_at(j, now), SECOND); /* about to begin */
    assert_int_equal(jwks_due_ms(j), now);
    jwks_begin(j);
    assert_int_equal(jwks_miss_at(j, now + 5), SECOND);
    fetch(j, now + 10, rsa, NULL, NULL);
    for (int64_t later = 10; later < MINUTE; later += 999) {
        assert_int_equal(jwks_miss_at(j, now + later), 0);
        assert_int_equal(jwks_due_ms(j), now + 10 + HOUR);
    }
    assert_int_equal(jwks_miss_at(j, now + MINUTE - 1), 0);
    assert_int_equal(jwks_miss_at(j, now + MINUTE), SECOND);
    assert_int_equal(jwks_due_ms(j), now + MINUTE);
    jwks_free(j);
}

static void test_before_the_first_success_no_kid_is_unknown(void **state) {
    (void)state;
    struct jwks *j = jwks_new(HOUR);
    assert_int_equal(jwks_miss_at(j, START), SECOND);
    jwks_begin(j);
    assert_int_equal(jwks_miss_at(j, START), SECOND);
    jwks_fail(j, START);
    assert_int_equal(jwks_miss_at(j, START), SECOND);
    jwks_free(j);
}

static void test_failures_are_repeated_later_and_later(void **state) {
    (void)state;
    static const int64_t pauses[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct jwks *j = jwks_new(HOUR);
    fetch(j, START, rsa, NULL, NULL);
    int64_t now = START + HOUR;
    for (size_t i = 0; i < N_ELEMENTS(pauses); i++) {
        jwks_begin(j);
        jwks_fail(j, now);
        assert_int_equal(jwks_due_ms(j), now + pauses[i] * SECOND);
        assert_int_equal(jwks_miss_at(j, now),
                         pauses[i] * SECOND); /* nobody knows, and it asks no sooner */
        assert_int_equal(jwks_due_ms(j), now + pauses[i] * SECOND);
        assert_int_equal(jwks_miss_at(j, jwks_due_ms(j)), SECOND);
        assert_non_null(jwks_find(j, "a"));
        now = jwks_due_ms(j);
    }
    fetch(j, now, rsa, NULL, NULL);
    assert_int_equal(jwks_due_ms(j), now + HOUR);
    jwks_begin(j);
    jwks_fail(j, now);
    assert_int_equal(jwks_due_ms(j), now + SECOND);
    jwks_free(j);
}

/* ---- which ---- */

static void test_a_success_replaces_all_keys(void **state) {
    (void)state;
    struct jwks *j = jwks_new(HOUR);
    assert_null(jwks_find(j, "a"));
    assert_null(jwks_only(j));
    fetch(j, START, rsa, ec, NULL);
    assert_int_equal(jwks_find(j, "a")->algorithm, AUTH_RS256);
    assert_int_equal(jwks_find(j, "b")->algorithm, AUTH_ES256);
    assert_null(jwks_find(j, "c"));
    assert_null(jwks_only(j));
    assert_true(fetch(j, START, NULL, NULL, other));
    assert_null(jwks_find(j, "a"));
    assert_null(jwks_find(j, "b"));
    assert_string_equal(jwks_only(j)->kid, "c");
    assert_true(fetch(j, START, NULL, NULL, NULL));
    assert_int_equal(jwks_n_keys(j), 0);
    jwks_free(j);
}

static void test_only_what_goes_or_changes_is_a_withdrawal(void **state) {
    (void)state;
    struct jwks *j = jwks_new(HOUR);
    fetch(j, START, rsa, NULL, NULL);
    assert_int_equal(jwks_n_withdrawals(j), 0);
    assert_true(fetch(j, START, rsa, ec, NULL)); /* one more */
    assert_false(fetch(j, START, rsa, ec, NULL));
    assert_int_equal(jwks_n_withdrawals(j), 0);
    assert_true(fetch(j, START, rsa, other, NULL)); /* another one of that name */
    assert_int_equal(jwks_n_withdrawals(j), 1);
    assert_true(fetch(j, START, NULL, other, NULL));
    assert_int_equal(jwks_n_withdrawals(j), 2);
    jwks_begin(j);
    jwks_fail(j, START);
    assert_int_equal(jwks_n_withdrawals(j), 2);
    jwks_free(j);
}

/* ---- with tokens ---- */

static int64_t wait_ms;
static int n_misses;

static int64_t on_miss(void *arg) {
    assert_ptr_equal(arg, &wait_ms);
    n_misses++;
    return wait_ms;
}

static struct auth *auth_with_provider(void) {
    struct auth *a = must_auth(&(struct setup){.algorithms = "HS256,RS256,ES256",
                                               .secret = SECRET,
                                               .jwks_url = "https://provider.example/keys"});
    jwks_on_miss(auth_jwks(a), on_miss, &wait_ms);
    return a;
}

static struct buf key_token(const char *header, EVP_PKEY *key) {
    struct buf token = BUF_NULL;
    jwt_put_input(&token, header, "{" GOOD "}", strlen("{" GOOD "}"));
    jwt_sign_key(&token, key);
    return token;
}

#define RS256_A "{\"alg\":\"RS256\",\"kid\":\"a\"}"
#define ES256_B "{\"alg\":\"ES256\",\"kid\":\"b\"}"

static void test_tokens_of_the_provider_are_taken(void **state) {
    (void)state;
    struct auth *a = auth_with_provider();
    fetch(auth_jwks(a), START, rsa, ec, NULL);
    check_taken(a, key_token(RS256_A, rsa), NULL);
    check_taken(a, key_token(ES256_B, ec), NULL);
    check_taken(a, hmac_token(HS256, GOOD, SECRET), NULL);
    check_refused(a, key_token(ES256_B, other), UNAUTHENTICATED, "signature");
    check_refused(a, key_token("{\"alg\":\"RS256\",\"kid\":\"b\"}", rsa), UNAUTHENTICATED, "kind");
    check_refused(a, key_token("{\"alg\":\"RS256\"}", rsa), UNAUTHENTICATED, "not just one key");
    fetch(auth_jwks(a), START, rsa, NULL, NULL);
    check_taken(a, key_token("{\"alg\":\"RS256\"}", rsa), NULL);
    auth_free(a);
}

static void test_an_unknown_kid_is_unavailable_while_it_may_come(void **state) {
    (void)state;
    struct auth *a = auth_with_provider();
    struct fault f = {0};
    struct principal p;
    struct buf token = key_token(RS256_A, rsa), bare = key_token("{\"alg\":\"RS256\"}", rsa);
    wait_ms = 1234;
    n_misses = 0;
    assert_int_equal(auth_verify(a, token.data, token.len, NOW, &p, &f), FAULT_UNAVAILABLE);
    assert_int_equal(f.code, FAULT_UNAVAILABLE);
    assert_int_equal(f.retry_after_ms, 1234);
    assert_int_equal(auth_verify(a, bare.data, bare.len, NOW, &p, &f), FAULT_UNAVAILABLE);
    assert_int_equal(n_misses, 2);
    wait_ms = 0;
    assert_int_equal(auth_verify(a, token.data, token.len, NOW, &p, &f), FAULT_UNAUTHENTICATED);
    fetch(auth_jwks(a), START, NULL, ec, other);
    assert_int_equal(n_misses, 3);
    assert_int_equal(auth_verify(a, bare.data, bare.len, NOW, &p, &f), FAULT_UNAUTHENTICATED);
    assert_int_equal(n_misses, 3); /* no key has a name that would be missed */
    fetch(auth_jwks(a), START, rsa, NULL, NULL);
    assert_int_equal(auth_verify(a, token.data, token.len, NOW, &p, &f), 0);
    buf_done(&token);
    buf_done(&bare);
    auth_free(a);
}

static void test_a_withdrawn_key_takes_its_cached_tokens_along(void **state) {
    (void)state;
    struct auth *a = auth_with_provider();
    struct fault f = {0};
    struct principal p;
    struct buf one = key_token(RS256_A, rsa), two = key_token(ES256_B, ec);
    wait_ms = 0;
    fetch(auth_jwks(a), START, rsa, ec, NULL);
    assert_int_equal(auth_verify(a, one.data, one.len, NOW, &p, &f), 0);
    assert_int_equal(auth_verify(a, two.data, two.len, NOW, &p, &f), 0);
    jwks_begin(auth_jwks(a));
    jwks_fail(auth_jwks(a), START); /* the provider is away: nothing goes */
    assert_int_equal(auth_verify(a, one.data, one.len, NOW, &p, &f), 0);
    fetch(auth_jwks(a), START, NULL, ec, NULL);
    assert_int_equal(auth_verify(a, one.data, one.len, NOW, &p, &f), FAULT_UNAUTHENTICATED);
    assert_int_equal(auth_verify(a, two.data, two.len, NOW, &p, &f), 0);
    fetch(auth_jwks(a), START, NULL, other, NULL); /* another key of that name */
    assert_int_equal(auth_verify(a, two.data, two.len, NOW, &p, &f), FAULT_UNAUTHENTICATED);
    buf_done(&one);
    buf_done(&two);
    auth_free(a);
}

static void test_a_provider_of_no_use_is_told(void **state) {
    (void)state;
    struct auth *a = NULL;
    char *error = NULL;
    assert_int_equal(auth_of(&(struct setup){.algorithms = "HS256",
                                             .secret = SECRET,
                                             .jwks_url = "https://provider.example/keys"},
                             &a, &error),
                     -EINVAL);
    assert_non_null(strstr(error, "HANDOFF_JWKS_URL"));
    free(error);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_fetch_is_due_at_once_and_then_hourly),
        cmocka_unit_test(test_a_miss_brings_a_fetch_forward_once_a_minute),
        cmocka_unit_test(test_before_the_first_success_no_kid_is_unknown),
        cmocka_unit_test(test_failures_are_repeated_later_and_later),
        cmocka_unit_test(test_a_success_replaces_all_keys),
        cmocka_unit_test(test_only_what_goes_or_changes_is_a_withdrawal),
        cmocka_unit_test(test_tokens_of_the_provider_are_taken),
        cmocka_unit_test(test_an_unknown_kid_is_unavailable_while_it_may_come),
        cmocka_unit_test(test_a_withdrawn_key_takes_its_cached_tokens_along),
        cmocka_unit_test(test_a_provider_of_no_use_is_told),
    };
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
