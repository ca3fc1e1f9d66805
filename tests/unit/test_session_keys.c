/* The files of session tokens' keys: what is taken, what refuses the start and how clearly, and two
 * keys at a time while one replaces the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>

#include "common/session_keys.h"
#include "common/session_token.h"
#include "tests/auth_setup.h"
#include "tests/session_key_files.h"

#define SESSION "0197f22e-79b0-7cc3-98c4-dc0c0c073990"

static struct {
    struct key_files files;
    EVP_PKEY *one, *two, *three;
    const char *one_key, *two_key; /* private */
    const char *one_public, *two_public;
} t;

static int set_up(void **state) {
    (void)state;
    key_files_init(&t.files);
    t.one = EVP_EC_gen("P-256");
    t.two = EVP_EC_gen("P-256");
    t.three = EVP_EC_gen("P-256");
    t.one_key = key_files_private(&t.files, "one", t.one);
    t.two_key = key_files_private(&t.files, "two", t.two);
    t.one_public = key_files_public(&t.files, "one-public", &t.one, 1);
    t.two_public = key_files_public(&t.files, "two-public", &t.two, 1);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    EVP_PKEY_free(t.one);
    EVP_PKEY_free(t.two);
    EVP_PKEY_free(t.three);
    key_files_done(&t.files);
    return 0;
}

static struct auth *auth_with(const char *key, const char *public_keys) {
    return must_auth(&(struct setup){
        .algorithms = "HS256", .secret = SECRET, .own_key = key, .own_public_keys = public_keys});
}

static struct buf made(const struct auth *a) {
    struct buf token = BUF_NULL;
    int64_t expires_at = 0;
    assert_int_equal(session_token_new(a, USER, SESSION, "tv", NOW, &token.data, &expires_at), 0);
    token.len = strlen(token.data);
    return token;
}

static void test_a_private_key_alone_is_enough(void **state) {
    (void)state;
    struct auth *a = auth_with(t.one_key, NULL);
    assert_int_equal(auth_session_keys(a)->n, 1);
    assert_null(auth_warning(a));
    check_taken(a, made(a), NULL);
    auth_free(a);
}

static void test_public_keys_alone_verify(void **state) {
    (void)state;
    struct auth *api = auth_with(t.one_key, NULL), *fanout = auth_with(NULL, t.one_public);
    assert_false(session_token_can_sign(fanout));
    check_taken(fanout, made(api), NULL);
    auth_free(api);
    auth_free(fanout);
}

/* Who does not sign does not keep a private key, and reads none that it does not need. */
static void test_who_only_verifies_has_no_private_key(void **state) {
    (void)state;
    struct auth *api = auth_with(t.one_key, NULL);
    const char *const keys[] = {t.one_key, "/nowhere"}, *const public_keys[] = {NULL, t.one_public};
    for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
        struct auth *fanout = must_auth(&(struct setup){.algorithms = "HS256",
                                                        .secret = SECRET,
                                                        .own_key = keys[i],
                                                        .own_public_keys = public_keys[i],
                                                        .is_fanout = true});
        const struct session_keys *own = auth_session_keys(fanout);
        BIGNUM *number = NULL;
        assert_null(own->private_key);
        assert_int_not_equal(
            EVP_PKEY_get_bn_param(own->keys[0].public_key, OSSL_PKEY_PARAM_PRIV_KEY, &number), 1);
        check_taken(fanout, made(api), NULL);
        auth_free(fanout);
    }
    auth_free(api);
}

/* Each step of a rotation, as docs/how-to/rotate.md has it: what was signed a step before is taken.
 */
static void test_a_rotation_refuses_nobody(void **state) {
    (void)state;
    const char *both = key_files_public(&t.files, "both", (EVP_PKEY *[]){t.one, t.two}, 2);
    const char *const keys[] = {t.one_key, t.one_key, t.two_key, t.two_key};
    const char *const public_keys[] = {t.one_public, both, both, t.two_public};
    for (size_t step = 1; step < N_ELEMENTS(keys); step++) {
        struct auth *before = auth_with(keys[step - 1], public_keys[step - 1]);
        struct auth *after = auth_with(keys[step], public_keys[step]);
        if (step < 3) /* before the last a day passes */
            check_taken(after, made(before), NULL);
        check_taken(before, made(after), NULL);
        auth_free(before);
        auth_free(after);
    }
    struct auth *first = auth_with(t.one_key, t.one_public),
                *last = auth_with(t.two_key, t.two_public);
    check_refused(last, made(first), UNAUTHENTICATED, "alg"); /* no key of ours, and no HS256 */
    auth_free(first);
    auth_free(last);
}

/* ---- refusals ---- */

static void check_setup(const struct setup *s, const char *name, const char *why) {
    struct auth *a = NULL;
    char *error = NULL;
    assert_int_equal(auth_of(s, &a, &error), -EINVAL);
    assert_null(a);
    if (!strstr(error, name) || !strstr(error, why))
        fail_msg("\"%s\" and \"%s\" are not in \"%s\"", name, why, error);
    free(error);
}

static void check_private(const char *path, const char *why) {
    check_setup(&(struct setup){.algorithms = "HS256", .secret = SECRET, .own_key = path},
                "HANDOFF_SESSION_TOKEN_KEY: /", why);
    check_setup(&(struct setup){.algorithms = "HS256",
                                .secret = SECRET,
                                .own_key = path,
                                .own_public_keys = t.one_public},
                "HANDOFF_SESSION_TOKEN_KEY: /", why);
}

static void check_public(const char *path, const char *why) {
    check_setup(&(struct setup){.algorithms = "HS256", .secret = SECRET, .own_public_keys = path},
                "HANDOFF_SESSION_TOKEN_PUBLIC_KEYS: /", why);
}

static EVP_PKEY *other_key(const char *kind) {
    if (strcmp(kind, "RSA") == 0)
        return EVP_RSA_gen(2048);
    return strcmp(kind, "ED25519") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                        : EVP_EC_gen(kind);
}

static void test_other_kinds_of_keys_refuse_the_start(void **state) {
    (void)state;
    static const char *const kinds[] = {"RSA", "ED25519", "P-384", "P-521", "secp256k1"};
    for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
        EVP_PKEY *key = other_key(kinds[i]);
        struct buf name = BUF_NULL;
        buf_printf(&name, "public-%s", kinds[i]);
        check_private(key_files_private(&t.files, kinds[i], key), "only EC on P-256 is");
        check_public(key_files_public(&t.files, name.data, &key, 1), "only EC on P-256 is");
        buf_done(&name);
        EVP_PKEY_free(key);
    }
}

static void test_files_that_are_none_refuse_the_start(void **state) {
    (void)state;
    check_private("/nowhere/key.pem", "cannot be read (No such file or directory)");
    check_public("/nowhere/key.pem", "cannot be read (No such file or directory)");
    check_private("/", "cannot be read");
    check_private("/dev/zero", "cannot be read (File too large)");
    const char *empty = key_files_text(&t.files, "empty", "");
    check_private(empty, "has no private key");
    check_public(empty, "has no public key");
    const char *words = key_files_text(&t.files, "words", "no key at all\n");
    check_private(words, "has no private key");
    check_public(words, "has no public key");
    const char *damaged = key_files_text(
        &t.files, "damaged", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    check_private(damaged, "has no private key");
    check_public(damaged, "has a block that is no public key");
    const char *cut =
        key_files_text(&t.files, "cut", "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYI\n");
    check_public(cut, "has a block that is damaged");
    check_private(key_files_locked(&t.files, "locked", t.one, "passphrase"), "with a passphrase");
    check_private(t.one_public, "has no private key");
    check_public(t.one_key, "has a block that is no public key");
}

static void test_more_than_two_keys_refuse_the_start(void **state) {
    (void)state;
    EVP_PKEY *keys[] = {t.one, t.two, t.three};
    check_public(key_files_public(&t.files, "three-keys", keys, 3), "more than two keys");
    keys[1] = t.one;
    check_public(key_files_public(&t.files, "one-twice", keys, 2), "the same key twice");
}

static void test_keys_that_do_not_go_together_refuse_the_start(void **state) {
    (void)state;
    check_setup(&(struct setup){.algorithms = "HS256",
                                .secret = SECRET,
                                .own_key = t.two_key,
                                .own_public_keys = t.one_public},
                "HANDOFF_SESSION_TOKEN_KEY",
                "is not among the keys of HANDOFF_SESSION_TOKEN_PUBLIC_KEYS");
    /* The private number of another key than the public point, in the form of RFC 5915. */
    const char *halves =
        key_files_text(&t.files, "halves",
                       "-----BEGIN EC PRIVATE KEY-----\n"
                       "MHcCAQEEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHoAoGCCqGSM49\n"
                       "AwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b\n"
                       "focs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                       "-----END EC PRIVATE KEY-----\n");
    check_setup(&(struct setup){.algorithms = "HS256", .secret = SECRET, .own_key = halves},
                "HANDOFF_SESSION_TOKEN_KEY", "has a key whose halves do not belong together");
}

/* One key for session tokens and for an identity provider would be bound to nothing. */
static void test_a_providers_key_is_none_of_ours(void **state) {
    (void)state;
    char folder[] = "/tmp/handoff-test-keys-XXXXXX";
    assert_non_null(mkdtemp(folder));
    jwt_write_public_key(t.one, folder, "provider.pem", NULL);
    struct setup s = {.algorithms = "ES256", .folder = folder, .own_key = t.one_key};
    check_setup(&s, "HANDOFF_JWT_KEYS", "has a key of session tokens");
    s.own_key = t.two_key;
    struct auth *a = must_auth(&s);
    struct buf name = BUF_NULL, path = BUF_NULL;
    buf_printf(&name, "%s.pem", auth_session_keys(a)->keys[0].kid);
    jwt_write_public_key(t.three, folder, name.data, NULL); /* another key under our kid */
    check_setup(&s, "HANDOFF_JWT_KEYS", "has a key of session tokens");
    const char *const names[] = {"provider.pem", name.data};
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        buf_clear(&path);
        buf_printf(&path, "%s/%s", folder, names[i]);
        unlink(path.data);
    }
    rmdir(folder);
    buf_done(&path);
    buf_done(&name);
    auth_free(a);
}

static void test_a_private_key_that_all_can_read_is_told_of(void **state) {
    (void)state;
    const char *path = key_files_private(&t.files, "exposed", t.one);
    static const struct {
        mode_t mode;
        bool is_exposed;
    } cases[] = {{0600, false}, {0400, false}, {0640, false}, {0660, false},
                 {0644, true},  {0604, true},  {0602, true},  {0666, true}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        chmod(path, cases[i].mode);
        struct auth *a = auth_with(path, NULL);
        const char *warning = auth_warning(a);
        assert_int_equal(warning != NULL, cases[i].is_exposed);
        assert_true(!warning || strstr(warning, "HANDOFF_SESSION_TOKEN_KEY"));
        auth_free(a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_private_key_alone_is_enough),
        cmocka_unit_test(test_public_keys_alone_verify),
        cmocka_unit_test(test_who_only_verifies_has_no_private_key),
        cmocka_unit_test(test_a_rotation_refuses_nobody),
        cmocka_unit_test(test_other_kinds_of_keys_refuse_the_start),
        cmocka_unit_test(test_files_that_are_none_refuse_the_start),
        cmocka_unit_test(test_more_than_two_keys_refuse_the_start),
        cmocka_unit_test(test_keys_that_do_not_go_together_refuse_the_start),
        cmocka_unit_test(test_a_providers_key_is_none_of_ours),
        cmocka_unit_test(test_a_private_key_that_all_can_read_is_told_of),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
