/* common/config_reload: what settings that were read again may change, and what they may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/config_reload.h"

#define SECRET "secret-0123456789-0123456789-012"

/* Of a session_api whose URL of that name is url. */
static void load(const char *name, const char *url, struct config *ret) {
    struct buf variable = BUF_NULL;
    buf_printf(&variable, "%s=%s", name, url);
    const char *environment[] = {variable.data, "HANDOFF_JWT_SECRET=" SECRET, NULL};
    assert_int_equal(config_load(CONFIG_SESSION_API, environment, ret, stderr), 0);
    buf_done(&variable);
}

struct outcome {
    int r;
    struct buf changes, need_restart;
    char err[512], taken[256];
};

static void outcome_done(struct outcome *o) {
    buf_done(&o->changes);
    buf_done(&o->need_restart);
}

/* name: of which field the taken value is told. */
static struct outcome reload(const char *name, char **(*field)(struct config *c), const char *was,
                             const char *is) {
    struct outcome o = {0};
    struct config now, fresh;
    load(name, was, &now);
    load(name, is, &fresh);
    FILE *err = fmemopen(o.err, sizeof(o.err), "w");
    o.r = config_reload_judge(&fresh, &now, &o.changes, &o.need_restart, err);
    fclose(err);
    if (o.r == 0)
        config_reload_take(&now, &fresh);
    snprintf(o.taken, sizeof(o.taken), "%s", *field(&now));
    config_done(&now);
    config_done(&fresh);
    return o;
}

static char **amqp(struct config *c) {
    return &c->amqp_url;
}
static char **redis(struct config *c) {
    return &c->redis_url;
}
static char **database(struct config *c) {
    return &c->database_url;
}
static char **jwks(struct config *c) {
    return &c->jwks_url;
}
static char **level(struct config *c) {
    return &c->log_level;
}

static void test_user_and_password_are_taken(void **state) {
    (void)state;
    static const struct {
        const char *name;
        char **(*field)(struct config *c);
        const char *was, *is;
    } cases[] = {
        {"HANDOFF_AMQP_URL", amqp, "amqp://a:one@h:1,i:2/v", "amqp://b:t%40wo@h:1,i:2/v"},
        {"HANDOFF_REDIS_URL", redis, "redis://:one@h:1/2", "redis://u:two@h:1/2"},
        {"HANDOFF_REDIS_URL", redis, "redis://h:1/2", "redis://u:two@h:1/2"},
        {"HANDOFF_DATABASE_URL", database, "postgres://a@h:1,i:2/v", "postgres://a:p@h:1,i:2/v"},
        {"HANDOFF_LOG_LEVEL", level, "info", "debug"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct outcome o = reload(cases[i].name, cases[i].field, cases[i].was, cases[i].is);
        assert_int_equal(o.r, 0);
        assert_string_equal(o.changes.data, cases[i].name);
        assert_null(o.need_restart.data);
        assert_string_equal(o.taken, cases[i].is);
        outcome_done(&o);
    }
}

static void test_another_place_needs_a_restart(void **state) {
    (void)state;
    static const struct {
        const char *name;
        char **(*field)(struct config *c);
        const char *was, *is;
    } cases[] = {
        {"HANDOFF_AMQP_URL", amqp, "amqp://a:b@h:1/v", "amqp://a:c@h:2/v"},
        {"HANDOFF_AMQP_URL", amqp, "amqp://a:b@h:1/v", "amqp://a:b@h:1/w"},
        {"HANDOFF_AMQP_URL", amqp, "amqp://a:b@h:1/v", "amqp://a:b@h:1,i:1/v"},
        {"HANDOFF_REDIS_URL", redis, "redis://:b@h:1/1", "redis+cluster://:b@h:1"},
        {"HANDOFF_DATABASE_URL", database, "postgres://a:b@h/d", "postgresql://a:c@h/d"},
        {"HANDOFF_DATABASE_URL", database, "postgres://a:b@h/d?sslmode=require",
         "postgres://a:b@h/d?password=c"},
        {"HANDOFF_JWKS_URL", jwks, "https://a.example/k", "https://b.example/k"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct outcome o = reload(cases[i].name, cases[i].field, cases[i].was, cases[i].is);
        assert_int_equal(o.r, 0);
        assert_null(o.changes.data);
        assert_string_equal(o.need_restart.data, cases[i].name);
        assert_string_equal(o.taken, cases[i].was);
        outcome_done(&o);
    }
}

static void test_a_login_that_cannot_be_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"amqp://a@h:1/v",     "amqp://a:@h:1/v",
                                      "amqp://a:%@h:1/v",   "amqp://a:%4@h:1/v",
                                      "amqp://a:%00@h:1/v", "amqp://%zz:b@h:1/v"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct outcome o = reload("HANDOFF_AMQP_URL", amqp, "amqp://a:b@h:1/v", bad[i]);
        assert_int_equal(o.r, -EINVAL);
        assert_non_null(strstr(o.err, "HANDOFF_AMQP_URL has a bad user or password; allowed: "));
        assert_null(strstr(o.err, "a:b"));
        assert_string_equal(o.taken, "amqp://a:b@h:1/v");
        outcome_done(&o);
    }
}

/* The name of an instance that gave itself one stays, and so does the text that others hold. */
static void test_what_was_made_up_stays(void **state) {
    (void)state;
    struct config now, fresh;
    struct buf changes = BUF_NULL, need_restart = BUF_NULL;
    load("HANDOFF_LOG_LEVEL", "info", &now);
    load("HANDOFF_LOG_LEVEL", "info", &fresh);
    assert_string_not_equal(now.instance, fresh.instance);
    const char *instance = now.instance, *amqp_url = now.amqp_url;
    assert_int_equal(config_reload_judge(&fresh, &now, &changes, &need_restart, stderr), 0);
    assert_string_equal(fresh.instance, instance);
    config_reload_take(&now, &fresh);
    assert_ptr_equal(now.instance, instance);
    assert_ptr_equal(fresh.amqp_url, amqp_url);
    assert_null(changes.data);
    assert_null(need_restart.data);
    config_done(&now);
    config_done(&fresh);
}

int main(void) {
    clearenv();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user_and_password_are_taken),
        cmocka_unit_test(test_another_place_needs_a_restart),
        cmocka_unit_test(test_a_login_that_cannot_be_is_refused),
        cmocka_unit_test(test_what_was_made_up_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
