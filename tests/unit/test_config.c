/* common/config: what is taken, what ends a start, and that no secret is ever printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "common/config.h"
#include "common/config_table.h"

#define ENVIRONMENT(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Loads and returns what was said to err (caller frees). */
static char *load(enum config_service service, const char *const *environment, struct config *c,
                  int expected) {
    char *said = NULL;
    size_t len;
    FILE *err = open_memstream(&said, &len);
    int r = config_load(service, environment, c, err);
    fclose(err);
    if (r != expected)
        fail_msg("%d, and not %d: %s", r, expected, said);
    return said;
}

static void check_refused(const char *variable, const char *said) {
    struct config c = {.service_name = "untouched"};
    const char *const environment[] = {variable, NULL};
    _cleanup_(freep) char *text = load(CONFIG_SESSION_API, environment, &c, -EINVAL);
    if (!strstr(text, said))
        fail_msg("%s: \"%s\" is not in \"%s\"", variable, said, text);
    assert_string_equal(c.service_name, "untouched");
}

static void check_taken(enum config_service service, const char *const *environment,
                        struct config *c) {
    _cleanup_(freep) char *text = load(service, environment, c, 0);
    assert_string_equal(text, "");
}

static char *print_values(const struct config *c, const char *const *environment) {
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    config_print_values(c, environment, out);
    fclose(out);
    return text;
}

static void test_defaults_of_each_service(void **state) {
    (void)state;
    static const char *const admin[] = {"127.0.0.1:9100", "127.0.0.1:9101", "127.0.0.1:9102",
                                        "127.0.0.1:9103"};
    static const char *const names[] = {"session_api", "state_engine", "ws_fanout", "audit_writer"};
    for (int i = 0; i < 4; i++) {
        struct config c;
        check_taken((enum config_service)(1 << i), ENVIRONMENT(NULL), &c);
        assert_string_equal(c.service_name, names[i]);
        assert_string_equal(c.admin_listen, admin[i]);
        assert_int_equal(c.max_batch, 256);
        assert_string_equal(c.jwt_secret, "");
        assert_string_equal(c.jwt_algorithms, "HS256");
        assert_int_equal(c.drain_timeout_ms, 10000);
        assert_int_equal(c.command_deadline_ms, 5000);
        assert_int_equal(c.max_message_bytes, 65536);
        assert_int_equal(c.max_body_bytes, 1048576);
        assert_int_equal(c.audit_wait_ms, 50);
        if (i % 2 == 0)
            assert_string_equal(c.listen, i == 2 ? "0.0.0.0:8081" : "0.0.0.0:8080");
        config_done(&c);
    }
}

static void test_instances_differ_and_have_a_plain_name(void **state) {
    (void)state;
    struct config one, other;
    check_taken(CONFIG_STATE_ENGINE, ENVIRONMENT(NULL), &one);
    check_taken(CONFIG_STATE_ENGINE, ENVIRONMENT(NULL), &other);
    assert_string_not_equal(one.instance, other.instance);
    struct config again;
    struct buf variable = BUF_NULL;
    buf_printf(&variable, "HANDOFF_INSTANCE=%s", one.instance);
    check_taken(CONFIG_STATE_ENGINE, ENVIRONMENT(variable.data), &again);
    assert_string_equal(one.instance, again.instance);
    buf_done(&variable);
    config_done(&one);
    config_done(&other);
    config_done(&again);
}

static void test_values_of_each_kind_are_taken(void **state) {
    (void)state;
    struct config c;
    check_taken(CONFIG_WS_FANOUT,
                ENVIRONMENT("PATH=/bin", "HANDOFF_WS_LISTEN=[::1]:0", "HANDOFF_PONG_TIMEOUT=30s",
                            "HANDOFF_PING_AFTER=1m", "HANDOFF_AUTH_TIMEOUT=250ms",
                            "HANDOFF_MAX_MESSAGE_BYTES=128kib", "HANDOFF_MAX_OUTBOX_BYTES=65536",
                            "HANDOFF_FANOUT_BINDING=session", "HANDOFF_LOG_LEVEL=debug",
                            "HANDOFF_JWT_ALGORITHMS=ES256,HS256",
                            "HANDOFF_ALLOWED_ORIGINS=https://a.example,http://localhost:*",
                            "HANDOFF_REDIS_URL=redis://:p@redis.internal:6380/2"),
                &c);
    assert_string_equal(c.listen, "[::1]:0");
    assert_int_equal(c.pong_timeout_ms, 30000);
    assert_int_equal(c.ping_after_ms, 60000);
    assert_int_equal(c.auth_timeout_ms, 250);
    assert_int_equal(c.max_message_bytes, 131072);
    assert_int_equal(c.max_outbox_bytes, 65536);
    assert_string_equal(c.fanout_binding, "session");
    assert_string_equal(c.jwt_algorithms, "ES256,HS256");
    assert_string_equal(c.redis_url, "redis://:p@redis.internal:6380/2");
    config_done(&c);
}

static void test_bad_values_are_named_with_what_is_allowed(void **state) {
    (void)state;
    check_refused("HANDOFF_COMMAND_DEADLINE=10",
                  "HANDOFF_COMMAND_DEADLINE cannot be \"10\"; allowed: a duration with its unit "
                  "(ms, s, m, h) from 100ms to 10s");
    check_refused("HANDOFF_COMMAND_DEADLINE=99ms", "from 100ms");
    check_refused("HANDOFF_COMMAND_DEADLINE=11s", "to 10s");
    check_refused("HANDOFF_COMMAND_DEADLINE=-5s", "allowed: a duration");
    check_refused("HANDOFF_COMMAND_DEADLINE=1.5s", "allowed: a duration");
    check_refused("HANDOFF_COMMAND_DEADLINE=5 s", "allowed: a duration");
    check_refused("HANDOFF_COMMAND_DEADLINE=9223372036854775807h", "allowed: a duration");
    check_refused("HANDOFF_COMMAND_DEADLINE=99999999999999999999s", "allowed: a duration");
    check_refused("HANDOFF_MAX_BODY_BYTES=9MiB", "from 1KiB to 8MiB");
    check_refused("HANDOFF_MAX_BODY_BYTES=KiB", "allowed: bytes, or a size");
    check_refused("HANDOFF_MAX_SESSIONS_PER_USER=0", "a whole number from 1 to 100000000");
    check_refused("HANDOFF_MAX_SESSIONS_PER_USER=0x10", "a whole number");
    check_refused("HANDOFF_LOG_LEVEL=loud", "one of debug, info, warn, error");
    check_refused("HANDOFF_LOG_LEVEL=inf", "one of debug, info, warn, error");
    check_refused("HANDOFF_JWT_ALGORITHMS=none", "HS256, RS256, ES256");
    check_refused("HANDOFF_JWT_ALGORITHMS=HS256,HS256", "HS256, RS256, ES256");
    check_refused("HANDOFF_JWT_ALGORITHMS=HS256,", "HS256, RS256, ES256");
    check_refused("HANDOFF_API_LISTEN=8080", "host:port");
    check_refused("HANDOFF_API_LISTEN=localhost:65536", "host:port");
    check_refused("HANDOFF_API_LISTEN=:8080", "host:port");
    check_refused("HANDOFF_API_LISTEN=::1:8080", "host:port");
    check_refused("HANDOFF_API_LISTEN=[]:8080", "host:port");
    check_refused("HANDOFF_ALLOWED_ORIGINS=https://a.example/", "without a path");
    check_refused("HANDOFF_ALLOWED_ORIGINS=a.example", "without a path");
    check_refused("HANDOFF_ALLOWED_ORIGINS=https://a.example,*", "without a path");
    check_refused("HANDOFF_ALLOWED_ORIGINS=https://a.example:*", "any port of a loopback host");
    check_refused("HANDOFF_INSTANCE=a b", "1 to 64 of");
    check_refused("HANDOFF_JWT_ISSUER=a\nb", "control characters");
}

static void test_bad_secrets_and_urls_are_not_repeated(void **state) {
    (void)state;
    struct config c;
    _cleanup_(freep) char *said =
        load(CONFIG_SESSION_API,
             ENVIRONMENT("HANDOFF_JWT_SECRET=geheim-und-zu-kurz-um-31-bytes",
                         "HANDOFF_AMQP_URL=http://u:geheim@h"),
             &c, -EINVAL);
    assert_non_null(strstr(said, "HANDOFF_JWT_SECRET has a bad value; allowed: at least 32 bytes"));
    assert_non_null(strstr(said, "HANDOFF_AMQP_URL has a bad value; allowed: a URL that starts "
                                 "with amqp://"));
    assert_null(strstr(said, "geheim"));
}

static void test_the_url_of_codes(void **state) {
    (void)state;
    static const char name[] = "HANDOFF_CODE_URL=";
    static const char *const bad[] = {"{code}",
                                      "https://app.example/",
                                      "https://app.example/{code}{code}",
                                      "https://app.example/ {code}",
                                      "https://app.example/\"{code}",
                                      "://x/{code}",
                                      "HTTPS//x/{code}",
                                      "{code}://x/"};
    char variable[400];
    struct config c = {0};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        snprintf(variable, sizeof(variable), "%s%s", name, bad[i]);
        check_refused(variable, "a URL of up to 256 bytes with {code} in it once");
    }
    check_taken(CONFIG_SESSION_API, ENVIRONMENT("HANDOFF_CODE_URL=com.example.app+x://j/{code}"),
                &c);
    assert_string_equal(c.code_url, "com.example.app+x://j/{code}");
    config_done(&c);
    snprintf(variable, sizeof(variable), "%shttps://x/{code}", name);
    memset(variable + strlen(variable), 'x', sizeof(variable) - strlen(variable));
    variable[sizeof(name) - 1 + 257] = '\0';
    check_refused(variable, "HANDOFF_CODE_URL");
    variable[sizeof(name) - 1 + 256] = '\0';
    c = (struct config){0};
    check_taken(CONFIG_SESSION_API, ENVIRONMENT(variable), &c);
    assert_int_equal(strlen(c.code_url), 256);
    config_done(&c);
}

static void test_every_mistake_is_told(void **state) {
    (void)state;
    struct config c;
    _cleanup_(freep) char *said = load(
        CONFIG_SESSION_API,
        ENVIRONMENT("HANDOFF_LOG_LEVEL=x", "HANDOFF_LOG_FORMAT=y", "HANDOFF_TYPO=z"), &c, -EINVAL);
    assert_non_null(strstr(said, "HANDOFF_LOG_LEVEL"));
    assert_non_null(strstr(said, "HANDOFF_LOG_FORMAT"));
    assert_non_null(strstr(said, "HANDOFF_TYPO is not known to any service"));
    assert_non_null(strstr(said, "allowed: HANDOFF_INSTANCE "));
}

static void test_names_of_other_services_are_fine(void **state) {
    (void)state;
    struct config c;
    check_taken(CONFIG_AUDIT_WRITER,
                ENVIRONMENT("HANDOFF_WS_LISTEN=not even an address", "HANDOFF_JWT_SECRET=short",
                            "HANDOFF_MAX_BATCH=7"),
                &c);
    assert_int_equal(c.max_batch, 7);
    config_done(&c);
}

static void test_what_kubernetes_injects_is_ignored(void **state) {
    (void)state;
    struct config c;
    check_taken(CONFIG_SESSION_API,
                ENVIRONMENT("HANDOFF_API_SERVICE_HOST=10.0.0.1", "HANDOFF_API_SERVICE_PORT=8080",
                            "HANDOFF_API_SERVICE_PORT_HTTP=8080",
                            "HANDOFF_API_PORT=tcp://10.0.0.1:8080",
                            "HANDOFF_API_PORT_8080_TCP=tcp://10.0.0.1:8080",
                            "HANDOFF_API_PORT_8080_TCP_ADDR=10.0.0.1", "HANDOFF_PORT=tcp://x",
                            "HANDOFFS_X=1", "HANDOFF=1"),
                &c);
    config_done(&c);
    check_refused("HANDOFF_API_PORT_TCP=1", "HANDOFF_API_PORT_TCP is not known");
    check_refused("HANDOFF_API_PORTS=1", "HANDOFF_API_PORTS is not known");
    check_refused("HANDOFF_LOG_FORMAT_FILE=/x", "HANDOFF_LOG_FORMAT_FILE is not known");
    check_refused("HANDOFF_=1", "HANDOFF_ is not known");
}

static void test_an_empty_value_is_as_not_given(void **state) {
    (void)state;
    struct config c;
    check_taken(CONFIG_SESSION_API, ENVIRONMENT("HANDOFF_LOG_LEVEL=", "HANDOFF_AMQP_URL_FILE="),
                &c);
    assert_string_equal(c.log_level, "info");
    config_done(&c);
}

/* "name=path" of a new file that holds text; the caller frees and unlinks. */
static char *make_file(const char *name, const char *text, size_t len) {
    char path[] = "/tmp/handoff-test-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
    struct buf variable = BUF_NULL;
    buf_printf(&variable, "%s=%s", name, path);
    return buf_take(&variable);
}

static const char *path_of(const char *variable) {
    return strchr(variable, '=') + 1;
}

static void test_secrets_and_urls_come_from_files_too(void **state) {
    (void)state;
    static const char secret[] = "0123456789 0123456789 0123456789\n\n";
    static const char url[] = "redis://:pw@h:1\n";
    _cleanup_(freep) char *one = make_file("HANDOFF_JWT_SECRET_FILE", secret, sizeof(secret) - 1);
    _cleanup_(freep) char *two = make_file("HANDOFF_REDIS_URL_FILE", url, sizeof(url) - 1);
    const char *const environment[] = {one, two, NULL};
    struct config c;
    check_taken(CONFIG_SESSION_API, environment, &c);
    assert_string_equal(c.jwt_secret, "0123456789 0123456789 0123456789\n"); /* one newline less */
    assert_string_equal(c.redis_url, "redis://:pw@h:1");
    _cleanup_(freep) char *values = print_values(&c, environment);
    assert_non_null(strstr(values, "HANDOFF_JWT_SECRET=***  (file)\n"));
    assert_non_null(strstr(values, "HANDOFF_REDIS_URL=redis://:***@h:1  (file)\n"));
    unlink(path_of(one));
    unlink(path_of(two));
    config_done(&c);
}

static void test_bad_files_end_the_start(void **state) {
    (void)state;
    check_refused("HANDOFF_JWT_SECRET_FILE=/nowhere/secret",
                  "HANDOFF_JWT_SECRET_FILE: cannot read /nowhere/secret: No such file");
    check_refused("HANDOFF_JWT_SECRET_FILE=/tmp", "HANDOFF_JWT_SECRET_FILE: cannot read /tmp");
    static const char nul[] = "0123456789012345678901234567890123\0x";
    _cleanup_(freep) char *file = make_file("HANDOFF_JWT_SECRET_FILE", nul, sizeof(nul) - 1);
    check_refused(file, "HANDOFF_JWT_SECRET_FILE: cannot read");
    unlink(path_of(file));
    _cleanup_(freep) char *zeros = must_alloc(70000);
    memset(zeros, 'x', 70000);
    _cleanup_(freep) char *large = make_file("HANDOFF_JWT_SECRET_FILE", zeros, 65537);
    check_refused(large, "HANDOFF_JWT_SECRET_FILE: cannot read");
    unlink(path_of(large));
}

static void test_value_and_file_together_are_refused(void **state) {
    (void)state;
    struct config c;
    _cleanup_(freep) char *said = load(
        CONFIG_SESSION_API,
        ENVIRONMENT("HANDOFF_REDIS_URL=redis://h:1", "HANDOFF_REDIS_URL_FILE=/x"), &c, -EINVAL);
    assert_non_null(strstr(said, "HANDOFF_REDIS_URL and HANDOFF_REDIS_URL_FILE are both given"));
}

static void test_a_previous_secret_needs_a_current_one(void **state) {
    (void)state;
    check_refused("HANDOFF_JWT_SECRET_PREVIOUS=01234567890123456789012345678901",
                  "without HANDOFF_JWT_SECRET");
}

static void test_printed_values_hide_every_password(void **state) {
    (void)state;
    const char *const *environment = ENVIRONMENT(
        "HANDOFF_JWT_SECRET=geheim-geheim-geheim-geheim-geheim",
        "HANDOFF_AMQP_URL=amqp://user:geheim@/g@h:1/v", "HANDOFF_REDIS_URL=redis://h:6379/0",
        "HANDOFF_DATABASE_URL=postgres://h/d?sslpassword=geheim&user=u&password=geheim");
    struct config c;
    check_taken(CONFIG_SESSION_API, environment, &c);
    _cleanup_(freep) char *values = print_values(&c, environment);
    assert_null(strstr(values, "geheim"));
    assert_non_null(strstr(values, "HANDOFF_AMQP_URL=amqp://user:***@h:1/v  (environment)\n"));
    assert_non_null(strstr(values, "HANDOFF_REDIS_URL=redis://h:6379/0  (environment)\n"));
    assert_non_null(strstr(values, "postgres://h/d?sslpassword=***&user=u&password=***"));
    assert_non_null(strstr(values, "HANDOFF_COMMAND_DEADLINE=5s  (default)\n"));
    assert_non_null(strstr(values, "HANDOFF_MAX_BODY_BYTES=1MiB  (default)\n"));
    assert_null(strstr(values, "HANDOFF_WS_LISTEN"));
    config_done(&c);
}

static void check_shown(const char *variable, const char *shown) {
    const char *const *environment =
        ENVIRONMENT("HANDOFF_JWT_SECRET=geheim-geheim-geheim-geheim-geheim", variable);
    struct config c;
    check_taken(CONFIG_SESSION_API, environment, &c);
    _cleanup_(freep) char *values = print_values(&c, environment);
    assert_null(strstr(values, "geheim"));
    assert_non_null(strstr(values, shown));
    config_done(&c);
}

/* A collector's key is often a parameter of its address. */
static void test_nothing_is_shown_of_a_query_that_may_have_a_key(void **state) {
    (void)state;
    check_shown("HANDOFF_OTLP_URL=https://c:4318/v1/traces?api_key=geheim&x=geheim",
                "HANDOFF_OTLP_URL=https://c:4318/v1/traces?***  (environment)\n");
    check_shown("HANDOFF_OTLP_URL=https://u:geheim@c/v1?geheim",
                "HANDOFF_OTLP_URL=https://u:***@c/v1?***  (environment)\n");
    check_shown("HANDOFF_OTLP_URL=https://c/v1?key=geheim@geheim",
                "HANDOFF_OTLP_URL=https://***  (environment)\n");
    check_shown("HANDOFF_JWKS_URL=https://p/keys?token=geheim",
                "HANDOFF_JWKS_URL=https://p/keys?***  (environment)\n");
    check_shown("HANDOFF_DATABASE_URL=postgres://u:ge?heim:geheim@h/d?sslmode=require",
                "HANDOFF_DATABASE_URL=postgres://***  (environment)\n");
    check_shown("HANDOFF_DATABASE_URL=postgres://h/d?password=a@geheim&user=geheim",
                "HANDOFF_DATABASE_URL=postgres://***  (environment)\n");
    check_shown("HANDOFF_DATABASE_URL=postgres://u:geheim@h/d?sslmode=require",
                "postgres://u:***@h/d?sslmode=require  (environment)\n");
}

static void test_the_password_of_several_addresses_is_hidden_too(void **state) {
    (void)state;
    const char *const *environment =
        ENVIRONMENT("HANDOFF_JWT_SECRET=geheim-geheim-geheim-geheim-geheim",
                    "HANDOFF_AMQP_URL=amqp://user:geh,eim@a:1,b:2/v",
                    "HANDOFF_DATABASE_URL=postgres://u:geheim@a:1,b:2/d?target_session_attrs=any");
    struct config c;
    check_taken(CONFIG_SESSION_API, environment, &c);
    _cleanup_(freep) char *values = print_values(&c, environment);
    assert_null(strstr(values, "eim"));
    assert_non_null(strstr(values, "amqp://user:***@a:1,b:2/v  (environment)\n"));
    assert_non_null(strstr(values, "postgres://u:***@a:1,b:2/d?target_session_attrs=any"));
    config_done(&c);
}

static void test_booleans_parse_as_people_write_them(void **state) {
    (void)state;
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "on", "1"};
    static const char *const no[] = {"false", "False", "no", "off", "0"};
    const struct config_row row = {.name = "X", .type = CONFIG_BOOLEAN};
    int64_t value;
    for (size_t i = 0; i < N_ELEMENTS(yes); i++) {
        value = 7;
        assert_true(config_value_parse(&row, yes[i], &value));
        assert_int_equal(value, 1);
    }
    for (size_t i = 0; i < N_ELEMENTS(no); i++) {
        value = 7;
        assert_true(config_value_parse(&row, no[i], &value));
        assert_int_equal(value, 0);
    }
    assert_false(config_value_parse(&row, "y", &value));
    assert_false(config_value_parse(&row, "2", &value));
}

static void test_ratios_are_exact_to_a_millionth(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t millionths;
        const char *printed;
    } taken[] = {{"0", 0, "0"},
                 {"1", 1000000, "1"},
                 {"0.0", 0, "0"},
                 {"1.000000", 1000000, "1"},
                 {"0.25", 250000, "0.25"},
                 {"0.000001", 1, "0.000001"},
                 {"0.5", 500000, "0.5"},
                 {"0.100000", 100000, "0.1"}};
    static const char *const refused[] = {"",     "2",   "1.000001",  "-0",  ".5", "0.",  "0,5",
                                          "0.5 ", "50%", "0.0000001", "1e0", "00", "1.5", "0x1"};
    const struct config_row row = {.name = "X", .type = CONFIG_RATIO};
    int64_t value;
    for (size_t i = 0; i < N_ELEMENTS(taken); i++) {
        _cleanup_(buf_done) struct buf out = BUF_NULL;
        assert_true(config_value_parse(&row, taken[i].text, &value));
        assert_int_equal(value, taken[i].millionths);
        config_value_print_number(CONFIG_RATIO, value, &out);
        assert_string_equal(out.data, taken[i].printed);
    }
    for (size_t i = 0; i < N_ELEMENTS(refused); i++)
        assert_false(config_value_parse(&row, refused[i], &value));
    check_refused("HANDOFF_TRACE_SAMPLE=10%", "allowed: a number from 0 to 1 with up to 6 digits");
}

static void test_numbers_print_in_their_largest_unit(void **state) {
    (void)state;
    static const struct {
        enum config_type type;
        int64_t number;
        const char *text;
    } cases[] = {{CONFIG_DURATION, 0, "0ms"},      {CONFIG_DURATION, 90000, "90s"},
                 {CONFIG_DURATION, 7200000, "2h"}, {CONFIG_DURATION, 1500, "1500ms"},
                 {CONFIG_SIZE, 65536, "64KiB"},    {CONFIG_SIZE, 1000, "1000B"},
                 {CONFIG_SIZE, 1LL << 31, "2GiB"}, {CONFIG_INTEGER, 3600000, "3600000"},
                 {CONFIG_BOOLEAN, 1, "true"}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct buf out = BUF_NULL;
        config_value_print_number(cases[i].type, cases[i].number, &out);
        assert_string_equal(out.data, cases[i].text);
        buf_done(&out);
    }
}

static void test_help_names_the_rows_of_the_service_only(void **state) {
    (void)state;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    config_print_help(CONFIG_AUDIT_WRITER, out);
    fclose(out);
    assert_non_null(strstr(text, "HANDOFF_AUDIT_WAIT\n"));
    assert_non_null(strstr(text, "default: 256; a whole number from 1 to 4096"));
    assert_null(strstr(text, "HANDOFF_JWT_SECRET"));
    free(text);
}

static void test_docs_equal_the_table(void **state) {
    (void)state;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    config_print_markdown(out);
    fclose(out);
    FILE *file = fopen("docs/CONFIG.md", "re");
    if (!file)
        fail_msg("docs/CONFIG.md is not there; run from the project's root");
    _cleanup_(freep) char *docs = must_alloc(len + 2);
    size_t docs_len = fread(docs, 1, len + 1, file);
    fclose(file);
    docs[docs_len] = '\0';
    if (strcmp(docs, text) != 0)
        fail_msg("docs/CONFIG.md is old; make it anew with a service's --config-markdown");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_of_each_service),
        cmocka_unit_test(test_instances_differ_and_have_a_plain_name),
        cmocka_unit_test(test_values_of_each_kind_are_taken),
        cmocka_unit_test(test_bad_values_are_named_with_what_is_allowed),
        cmocka_unit_test(test_bad_secrets_and_urls_are_not_repeated),
        cmocka_unit_test(test_the_url_of_codes),
        cmocka_unit_test(test_every_mistake_is_told),
        cmocka_unit_test(test_names_of_other_services_are_fine),
        cmocka_unit_test(test_what_kubernetes_injects_is_ignored),
        cmocka_unit_test(test_an_empty_value_is_as_not_given),
        cmocka_unit_test(test_secrets_and_urls_come_from_files_too),
        cmocka_unit_test(test_bad_files_end_the_start),
        cmocka_unit_test(test_value_and_file_together_are_refused),
        cmocka_unit_test(test_a_previous_secret_needs_a_current_one),
        cmocka_unit_test(test_printed_values_hide_every_password),
        cmocka_unit_test(test_the_password_of_several_addresses_is_hidden_too),
        cmocka_unit_test(test_nothing_is_shown_of_a_query_that_may_have_a_key),
        cmocka_unit_test(test_booleans_parse_as_people_write_them),
        cmocka_unit_test(test_ratios_are_exact_to_a_millionth),
        cmocka_unit_test(test_numbers_print_in_their_largest_unit),
        cmocka_unit_test(test_help_names_the_rows_of_the_service_only),
        cmocka_unit_test(test_docs_equal_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
