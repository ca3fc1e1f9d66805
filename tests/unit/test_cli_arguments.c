/* cli/arguments.h: what of a command line is an option, a value, a word, a mistake; cli/doctor's
 * and cli/report's small judgements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/timestamp.h"
#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/doctor_parts.h"
#include "cli/services.h"

/* The program's own is in main.c. */
const struct command commands[] = {{NULL, NULL, NULL, 0}};

struct line {
    int argc;
    char *argv[8];
    size_t n_words;
    bool flag;
    const char *value;
};

static bool read_line(struct line *l) {
    const struct argument options[] = {{"--flag", &l->flag, NULL}, {"--value", NULL, &l->value}};
    l->argc = 0;
    while (l->argc < 8 && l->argv[l->argc])
        l->argc++;
    return arguments_read(l->argc, l->argv, options, N_ELEMENTS(options), &l->n_words);
}

static char name[] = "x", a[] = "a", b[] = "b", flag[] = "--flag", value[] = "--value",
            dash[] = "-", end[] = "--", other[] = "--other", short_one[] = "-f";

static void test_options_stand_anywhere_and_words_keep_their_order(void **state) {
    (void)state;
    struct line l = {.argv = {name, a, flag, dash, value, flag, b}};
    assert_true(read_line(&l));
    assert_true(l.flag);
    assert_string_equal(l.value, "--flag");
    assert_int_equal(l.n_words, 3);
    assert_string_equal(l.argv[1], "a");
    assert_string_equal(l.argv[2], "-");
    assert_string_equal(l.argv[3], "b");
}

static void test_after_two_dashes_all_are_words(void **state) {
    (void)state;
    struct line l = {.argv = {name, end, flag, end, other}};
    assert_true(read_line(&l));
    assert_false(l.flag);
    assert_int_equal(l.n_words, 3);
    assert_string_equal(l.argv[2], "--");
}

static void test_mistakes_are_mistakes(void **state) {
    (void)state;
    struct line lines[] = {{.argv = {name, other}},
                           {.argv = {name, short_one}},
                           {.argv = {name, value}},
                           {.argv = {name, value, a, value, b}}};
    for (size_t i = 0; i < N_ELEMENTS(lines); i++)
        assert_false(read_line(&lines[i]));
}

static void test_nothing_is_nothing(void **state) {
    (void)state;
    struct line l = {.argv = {name}};
    assert_true(read_line(&l));
    assert_int_equal(l.n_words, 0);
    assert_null(l.value);
}

static void test_times_have_units_and_bounds(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds; /* 0: none */
    } cases[] = {{"1s", 1},
                 {"90s", 90},
                 {"15m", 900},
                 {"1h", 3600},
                 {"7d", 604800},
                 {"8d", 0},
                 {"0s", 0},
                 {"", 0},
                 {"s", 0},
                 {"1", 0},
                 {"1hh", 0},
                 {"-1s", 0},
                 {"1 s", 0},
                 {"1w", 0},
                 {"99999999999999999999s", 0},
                 {"604801s", 0},
                 {"604800s", 604800}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        int64_t seconds = 0;
        assert_int_equal(arguments_seconds(cases[i].text, 604800, &seconds), cases[i].seconds > 0);
        assert_int_equal(seconds, cases[i].seconds);
    }
}

static void test_versions_compare_as_numbers(void **state) {
    (void)state;
    assert_true(doctor_is_since("3.10.8", 3, 10));
    assert_true(doctor_is_since("4.0", 3, 10));
    assert_true(doctor_is_since("7.0.15", 7, 0));
    assert_false(doctor_is_since("3.9.29", 3, 10));
    assert_false(doctor_is_since("6.2", 7, 0));
    assert_false(doctor_is_since("", 3, 10));
    assert_false(doctor_is_since("none", 3, 10));
}

static void test_a_clock_is_judged_by_how_far_it_is_off(void **state) {
    (void)state;
    static const struct {
        int64_t off_ms;
        enum report_state state;
    } cases[] = {{0, REPORT_OK},           {-100, REPORT_OK},      {16000, REPORT_WARNING},
                 {-15000, REPORT_WARNING}, {60000, REPORT_FAILED}, {-31000, REPORT_FAILED}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct report r = {.json = true};
        doctor_clock(&r, "clock", timestamp_wall_ms() + cases[i].off_ms);
        assert_int_equal(r.n[cases[i].state], 1);
        assert_int_equal(report_end(&r), cases[i].state == REPORT_FAILED);
    }
}

static void test_a_service_is_found_by_its_name(void **state) {
    (void)state;
    assert_int_equal(services_find(NULL), CONFIG_ALL);
    assert_int_equal(services_find("state_engine"), CONFIG_STATE_ENGINE);
    assert_int_equal(services_find("handoff"), 0);
    assert_int_equal(services_find(""), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_stand_anywhere_and_words_keep_their_order),
        cmocka_unit_test(test_after_two_dashes_all_are_words),
        cmocka_unit_test(test_mistakes_are_mistakes),
        cmocka_unit_test(test_nothing_is_nothing),
        cmocka_unit_test(test_times_have_units_and_bounds),
        cmocka_unit_test(test_versions_compare_as_numbers),
        cmocka_unit_test(test_a_clock_is_judged_by_how_far_it_is_off),
        cmocka_unit_test(test_a_service_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
