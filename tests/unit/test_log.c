/* common/log: one whole, valid JSON line a record, whatever a client put in it, and never a wait.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "common/clean.h"
#include "common/log.h"

/* stderr is exchanged for `write_end` while a log is open. */
struct capture {
    int read_end, write_end, saved;
    struct log *log;
};

static void capture_start(struct capture *c, const int fds[2], enum log_level least,
                          const char *format) {
    c->read_end = fds[0];
    c->write_end = fds[1];
    c->saved = dup(STDERR_FILENO);
    dup2(c->write_end, STDERR_FILENO);
    c->log = log_new("session_api", "one", least, format);
    dup2(c->saved, STDERR_FILENO);
    close(c->saved);
}

static void capture_pipe(struct capture *c, enum log_level least, const char *format) {
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    capture_start(c, fds, least, format);
}

static char *capture_read(struct capture *c) {
    struct buf text = BUF_NULL;
    char bytes[4096];
    for (ssize_t n; (n = read(c->read_end, bytes, sizeof(bytes))) > 0;)
        buf_put(&text, bytes, (size_t)n);
    return buf_take(&text);
}

static void capture_done(struct capture *c) {
    log_free(c->log);
    close(c->read_end);
    close(c->write_end);
}

static void check_member(const json_t *record, const char *name, const char *expected) {
    const char *value = json_string_value(json_object_get(record, name));
    assert_non_null(value);
    assert_string_equal(value, expected);
}

static json_t *read_one(struct capture *c) {
    _cleanup_(freep) char *line = capture_read(c);
    size_t len = strlen(line);
    assert_true(len > 1 && len <= PIPE_BUF);
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    json_t *record = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    if (!record)
        fail_msg("no JSON: %s", line);
    return record;
}

static void test_a_record_has_its_members(void **state) {
    (void)state;
    struct capture c;
    capture_pipe(&c, LOG_LEVEL_INFO, "json");
    log_info(c.log, "request", "Done.", LOG_TEXT("requestId", "r1"), LOG_NUMBER("ms", INT64_MIN));
    json_auto_t *record = read_one(&c);
    static const char *const names[] = {"ts",    "level", "service",   "instance",
                                        "event", "msg",   "requestId", "ms"};
    size_t i = 0;
    const char *name;
    json_t *value;
    json_object_foreach(record, name, value) {
        assert_true(i < N_ELEMENTS(names));
        assert_string_equal(name, names[i++]);
    }
    assert_int_equal(i, N_ELEMENTS(names));
    check_member(record, "level", "info");
    check_member(record, "service", "session_api");
    check_member(record, "instance", "one");
    check_member(record, "event", "request");
    check_member(record, "msg", "Done.");
    assert_true(json_integer_value(json_object_get(record, "ms")) == INT64_MIN);
    capture_done(&c);
}

static void test_what_is_not_known_is_left_out(void **state) {
    (void)state;
    static const char *const formats[] = {"json", "text"};
    for (size_t i = 0; i < N_ELEMENTS(formats); i++) {
        struct capture c;
        capture_pipe(&c, LOG_LEVEL_INFO, formats[i]);
        log_info(c.log, "x", "X.", LOG_KNOWN("none", NULL), LOG_KNOWN("empty", ""),
                 LOG_KNOWN("known", "yes"), LOG_KNOWN("last", ""));
        _cleanup_(freep) char *line = capture_read(&c);
        assert_null(strstr(line, "none"));
        assert_null(strstr(line, "empty"));
        assert_null(strstr(line, "last"));
        assert_non_null(strstr(line, i ? " known=\"yes\"\n" : ",\"known\":\"yes\"}\n"));
        capture_done(&c);
    }
}

static void test_below_the_level_nothing_is_written(void **state) {
    (void)state;
    struct capture c;
    capture_pipe(&c, LOG_LEVEL_WARN, "json");
    log_debug(c.log, "a", "A.");
    log_info(c.log, "b", "B.");
    _cleanup_(freep) char *nothing = capture_read(&c);
    assert_string_equal(nothing, "");
    log_warn(c.log, "c", "C.");
    json_auto_t *record = read_one(&c);
    check_member(record, "event", "c");
    capture_done(&c);
}

static void test_a_hostile_text_is_escaped(void **state) {
    (void)state;
    struct capture c;
    capture_pipe(&c, LOG_LEVEL_INFO, "json");
    log_info(c.log, "x", "X.",
             LOG_TEXT("path", "a\"\n{\"level\":\"error\"}\x1b[2J\xff\xc0\xaf\xed\xa0\x80z"));
    json_auto_t *record = read_one(&c);
    check_member(record, "path",
                 "a\"\n{\"level\":\"error\"}\x1b[2J\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdz");
    capture_done(&c);
}

static void test_a_value_is_cut_at_a_character_within_512_bytes(void **state) {
    (void)state;
    char text[600] = {0};
    memset(text, 'a', 511);
    memcpy(text + 511, "\xc3\xa9tail", 6);
    struct capture c;
    capture_pipe(&c, LOG_LEVEL_INFO, "json");
    log_info(c.log, "x", "X.", LOG_TEXT("long", text));
    json_auto_t *record = read_one(&c);
    text[511] = '\0';
    check_member(record, "long", text);
    memset(text, 'b', 512);
    text[512] = '\0';
    log_info(c.log, "x", "X.", LOG_TEXT("long", text));
    json_auto_t *whole = read_one(&c);
    check_member(whole, "long", text);
    capture_done(&c);
}

static void test_a_record_never_exceeds_one_write(void **state) {
    (void)state;
    char text[520] = {0};
    memset(text, '\x01', 512); /* six bytes each when escaped */
    struct capture c;
    capture_pipe(&c, LOG_LEVEL_INFO, "json");
    log_info(c.log, "x", "X.", LOG_TEXT("one", text), LOG_TEXT("two", text),
             LOG_NUMBER("three", 3));
    json_auto_t *record = read_one(&c);
    check_member(record, "one", text);
    assert_null(json_object_get(record, "two"));
    assert_int_equal(json_integer_value(json_object_get(record, "three")), 3);
    assert_true(json_is_true(json_object_get(record, "cut")));
    capture_done(&c);
}

static void test_a_full_pipe_drops_and_counts(void **state) {
    (void)state;
    struct capture c;
    capture_pipe(&c, LOG_LEVEL_INFO, "json");
    const int n_records = 2000;
    for (int i = 0; i < n_records; i++)
        log_info(c.log, "x", "A record of some length, so that the pipe fills.",
                 LOG_NUMBER("n", i));
    uint64_t n_dropped = log_n_dropped(c.log);
    assert_true(n_dropped > 0 && n_dropped < (uint64_t)n_records);
    assert_int_equal(fcntl(c.write_end, F_GETFL) & O_NONBLOCK, 0); /* others' flags are theirs */
    _cleanup_(freep) char *text = capture_read(&c);
    uint64_t n_lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        n_lines++;
    assert_int_equal(n_lines + n_dropped, n_records);
    log_info(c.log, "again", "There is room.");
    json_auto_t *record = read_one(&c);
    check_member(record, "event", "again");
    capture_done(&c);
}

static void test_a_full_socket_drops_and_later_lines_are_whole(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    struct capture c;
    capture_start(&c, fds, LOG_LEVEL_INFO, "json");
    /* A log of a socket writes to descriptor 2 itself. */
    int saved = dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO);
    for (int i = 0; i < 20000; i++)
        log_info(c.log, "x", "A record of some length, so that the socket fills.");
    uint64_t n_dropped = log_n_dropped(c.log);
    free(capture_read(&c));
    log_info(c.log, "again", "There is room.");
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_true(n_dropped > 0);
    _cleanup_(freep) char *last = capture_read(&c);
    const char *line = last[0] == '\n' ? last + 1 : last;
    json_auto_t *record = json_loads(line, 0, NULL);
    check_member(record, "event", "again");
    capture_done(&c);
}

static void test_text_is_one_readable_line(void **state) {
    (void)state;
    struct capture c;
    capture_pipe(&c, LOG_LEVEL_DEBUG, "text");
    log_error(c.log, "broker_lost", "The broker is gone.", LOG_TEXT("why", "x\ny\x1b"),
              LOG_NUMBER("tries", 3));
    _cleanup_(freep) char *line = capture_read(&c);
    assert_non_null(strstr(line, " error session_api broker_lost: The broker is gone. "
                                 "why=\"x\\ny\\u001b\" tries=3\n"));
    capture_done(&c);
}

static void test_auto_is_json_where_no_person_reads(void **state) {
    (void)state;
    struct capture c;
    capture_pipe(&c, LOG_LEVEL_DEBUG, "auto");
    log_info(c.log, "x", "X.");
    json_auto_t *record = read_one(&c);
    check_member(record, "event", "x");
    capture_done(&c);
}

static void test_errno_survives(void **state) {
    (void)state;
    struct capture c;
    capture_pipe(&c, LOG_LEVEL_INFO, "json");
    errno = ENOTCONN;
    log_info(c.log, "x", "X.");
    assert_int_equal(errno, ENOTCONN);
    capture_done(&c);
}

static void test_level_names_parse(void **state) {
    (void)state;
    enum log_level level = LOG_LEVEL_ERROR;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_false(log_level_parse("loud", &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
}

static void test_clean_replaces_terminal_controls(void **state) {
    (void)state;
    struct buf out = BUF_NULL;
    clean_put(&out, "a\xc2\x9b\xc2\xa0\xf0\x9f\x98\x80\xf0\x9f", 12, 100);
    assert_string_equal(out.data, "a\ufffd\u00a0\U0001F600\ufffd\ufffd");
    buf_clear(&out);
    clean_put(&out, "\xff", 1, 2); /* U+FFFD has three bytes */
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_has_its_members),
        cmocka_unit_test(test_what_is_not_known_is_left_out),
        cmocka_unit_test(test_below_the_level_nothing_is_written),
        cmocka_unit_test(test_a_hostile_text_is_escaped),
        cmocka_unit_test(test_a_value_is_cut_at_a_character_within_512_bytes),
        cmocka_unit_test(test_a_record_never_exceeds_one_write),
        cmocka_unit_test(test_a_full_pipe_drops_and_counts),
        cmocka_unit_test(test_a_full_socket_drops_and_later_lines_are_whole),
        cmocka_unit_test(test_text_is_one_readable_line),
        cmocka_unit_test(test_auto_is_json_where_no_person_reads),
        cmocka_unit_test(test_errno_survives),
        cmocka_unit_test(test_level_names_parse),
        cmocka_unit_test(test_clean_replaces_terminal_controls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
