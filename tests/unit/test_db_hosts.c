/* PostgreSQL's hosts in a URL: what libpq reads there, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <libpq-fe.h>
#include <string.h>

#include "base/buf.h"
#include "common/db_hosts.h"

static const char *value(const PQconninfoOption *options, const char *keyword) {
    while (strcmp(options->keyword, keyword) != 0)
        options++;
    return options->val;
}

static int parse(struct db_hosts *ret, const char *url) {
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    if (!options)
        fail_msg("%s is no URL", url);
    int r = db_hosts_parse(ret, value(options, "host"), value(options, "hostaddr"),
                           value(options, "port"));
    PQconninfoFree(options);
    return r;
}

/* "host address port" of each, with a ? where it has to be looked up */
static void check(const char *url, const char *wanted) {
    struct db_hosts h;
    assert_int_equal(parse(&h, url), 0);
    struct buf said = BUF_NULL;
    for (size_t i = 0; i < h.n; i++)
        buf_printf(&said, "%s%s/%s/%s%s", i ? " " : "", h.all[i].host, h.all[i].address,
                   h.all[i].port, db_host_needs_lookup(&h.all[i]) ? "?" : "");
    assert_string_equal(said.data, wanted);
    buf_done(&said);
    db_hosts_done(&h);
}

static void test_hosts_are_read_in_order(void **state) {
    (void)state;
    check("postgres:///d", "//5432");
    check("postgres://a/d", "a//5432?");
    check("postgres://u:p@a:1,127.0.0.1,[::1]:3/d?target_session_attrs=read-write",
          "a//1? 127.0.0.1//5432 ::1//3");
    check("postgres:///d?host=/var/run,@x", "/var/run//5432 @x//5432");
    check("postgres://a,b/d?port=7", "a//7? b//7?");
    check("postgres://a,b/d?hostaddr=10.0.0.1,10.0.0.2", "a/10.0.0.1/5432 b/10.0.0.2/5432");
    check("postgres:///d?hostaddr=10.0.0.1,10.0.0.2&port=1,2", "/10.0.0.1/1 /10.0.0.2/2");
}

static void test_what_does_not_fit_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "postgres://a,/d",         "postgres://,a/d",
        "postgres://a:0/d",        "postgres://a:1,b:65536/d",
        "postgres://a:x/d",        "postgres://a,b/d?port=1,2,3",
        "postgres://a/d?port=1,2", "postgres://a,b/d?hostaddr=10.0.0.1",
    };
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct db_hosts h;
        if (parse(&h, bad[i]) != -EINVAL)
            fail_msg("%s was taken", bad[i]);
    }
}

static void test_sixteen_are_taken_and_no_more(void **state) {
    (void)state;
    struct buf url = BUF_NULL;
    struct db_hosts h;
    buf_puts(&url, "postgres://h");
    for (int i = 1; i < DB_HOSTS_MAX; i++)
        buf_puts(&url, ",h");
    assert_int_equal(parse(&h, url.data), 0);
    assert_int_equal(h.n, DB_HOSTS_MAX);
    db_hosts_done(&h);
    buf_puts(&url, ",h");
    assert_int_equal(parse(&h, url.data), -EINVAL);
    buf_done(&url);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts_are_read_in_order),
        cmocka_unit_test(test_what_does_not_fit_is_refused),
        cmocka_unit_test(test_sixteen_are_taken_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
