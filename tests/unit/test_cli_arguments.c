/* tools/handoff/arguments.h: what of a command line is an option, a value, a word, a mistake;
 * tools/handoff/doctor's and tools/handoff/report's small judgements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timestamp.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/command.h"
#include "tools/handoff/doctor_parts.h"
#include "tools/handoff/nearest.h"
#include "tools/handoff/services.h"

/* The program's own is in main.c. */
const struct command commands[] = {{NULL, NULL, NULL, 0}};

struct line {
    int argc;
    char *argv[8];
    size_t n_words;
    bool flag;
    const char *text;
    int64_t number;
};

static bool read_line(struct line *l) {
    const struct argument options[] = {{"--flag", .flag = &l->flag},
                                       {"--text", .text = &l->text},
                                       {"--number", .number = &l->number, .least = 2, .most = 30}};
    l->argc = 0;
    while (l->argc < 8 && l->argv[l->argc])
        l->argc++;
    return arguments_read(l->argc, l->argv, options, N_ELEMENTS(options), &l->n_words);
}

static char name[] = "x", a[] = "a", b[] = "b", flag[] = "--flag", text[] = "--text",
            number[] = "--number", dash[] = "-", end[] = "--", other[] = "--other",
            short_one[] = "-f", empty[] = "";

static void test_options_stand_anywhere_and_words_keep_their_order(void **state) {
    (void)state;
    char two[] = "2";
    struct line l = {.argv = {name, a, flag, dash, text, b, b}};
    assert_true(read_line(&l));
    assert_true(l.flag);
    assert_string_equal(l.text, "b");
    assert_int_equal(l.n_words, 3);
    assert_string_equal(l.argv[1], "a");
    assert_string_equal(l.argv[2], "-");
    assert_string_equal(l.argv[3], "b");
    struct line m = {.argv = {name, number, two, flag, flag}};
    assert_true(read_line(&m));
    assert_int_equal(m.number, 2);
    assert_int_equal(m.n_words, 0);
}

static void test_a_value_may_stand_behind_an_equals_sign(void **state) {
    (void)state;
    char text_is[] = "--text=--flag", number_is[] = "--number=30", text_equals[] = "--text=a=b";
    struct line l = {.argv = {name, text_is, a, number_is}};
    assert_true(read_line(&l));
    assert_string_equal(l.text, "--flag");
    assert_int_equal(l.number, 30);
    assert_false(l.flag);
    assert_int_equal(l.n_words, 1);
    struct line m = {.argv = {name, text_equals}};
    assert_true(read_line(&m));
    assert_string_equal(m.text, "a=b");
}

static void test_after_two_dashes_all_are_words(void **state) {
    (void)state;
    struct line l = {.argv = {name, end, flag, end, other}};
    assert_true(read_line(&l));
    assert_false(l.flag);
    assert_int_equal(l.n_words, 3);
    assert_string_equal(l.argv[2], "--");
}

/* What is told on stderr of a line that is wrong. */
static char *mistake_of(struct line *l) {
    char *told = NULL;
    size_t len = 0;
    FILE *before = stderr;
    stderr = open_memstream(&told, &len);
    assert_non_null(stderr);
    bool is_fine = read_line(l);
    fclose(stderr);
    stderr = before;
    assert_false(is_fine);
    return told;
}

static void test_mistakes_are_told_with_what_to_do(void **state) {
    (void)state;
    char flag_is[] = "--flag=1", text_is[] = "--text=", one[] = "1", many[] = "31", no[] = "2x",
         huge[] = "99999999999999999999", slip[] = "--txet", begun[] = "--num", is[] = "--other=1";
    struct {
        struct line line;
        const char *says;
    } cases[] = {
        {{.argv = {name, other}}, "x has no option --other. It takes --flag, --text and --number."},
        {{.argv = {name, is}}, "x has no option --other."},
        {{.argv = {name, short_one}}, "x has no option -f."},
        {{.argv = {name, slip}}, "x has no option --txet. Is --text meant?"},
        {{.argv = {name, begun, a}}, "x has no option --num. Is --number meant?"},
        {{.argv = {name, flag_is}}, "--flag takes no value."},
        {{.argv = {name, text}}, "--text takes a value."},
        {{.argv = {name, text, empty}}, "--text takes a value that is not empty."},
        {{.argv = {name, text_is}}, "--text takes a value that is not empty."},
        {{.argv = {name, text, flag}},
         "--text takes a value, and --flag comes instead. "
         "--text=--flag, if it is one."},
        {{.argv = {name, text, end, a}}, "--text takes a value, and -- comes instead."},
        {{.argv = {name, text, a, text, b}}, "--text is given twice."},
        {{.argv = {name, number, one}}, "--number takes a number from 2 to 30, not \"1\"."},
        {{.argv = {name, number, many}}, "--number takes a number from 2 to 30, not \"31\"."},
        {{.argv = {name, number, no}}, "--number takes a number from 2 to 30, not \"2x\"."},
        {{.argv = {name, number, huge}}, "--number takes a number from 2 to 30"}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        char *told = mistake_of(&cases[i].line);
        assert_ptr_equal(strstr(told, "handoff: "), told);
        if (!strstr(told, cases[i].says))
            fail_msg("%s: %s", cases[i].says, told);
        assert_non_null(strstr(told, "\n\nTry handoff x --help.\n"));
        free(told);
    }
}

static void test_a_slip_of_the_finger_is_found(void **state) {
    (void)state;
    static const char *const names[] = {"list",
                                        "show",
                                        "events",
                                        "replay",
                                        "--changed-since",
                                        "a-name-that-is-longer-than-any-is-looked-at"};
    static const struct {
        const char *word, *meant;
    } cases[] = {{"lst", "list"},
                 {"lsit", "list"},
                 {"shwo", "show"},
                 {"event", "events"},
                 {"re", "replay"},
                 {"repaly", "replay"},
                 {"--changed-sinc", "--changed-since"},
                 {"--change", "--changed-since"},
                 {"burn", NULL},
                 {"", NULL},
                 {"x", NULL},
                 {"--", NULL},
                 {"tisl", NULL},
                 {"--since", NULL},
                 {"a-name-that-is-longer-than-any-is-looked-", NULL}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        const char *meant = nearest(cases[i].word, strlen(cases[i].word), names, N_ELEMENTS(names));
        if (!meant != !cases[i].meant || (meant && strcmp(meant, cases[i].meant) != 0))
            fail_msg("%s: %s", cases[i].word, meant ? meant : "none");
    }
    static const char *const two[] = {"--queue", "--queue-prefix"};
    assert_null(nearest("--que", 5, two, 2)); /* either */
    assert_string_equal(nearest("--queu", 6, two, 2), "--queue");
}

static char given[32];
static int given_argc;

static int run_one(int argc, char **argv) {
    snprintf(given, sizeof(given), "%s", argv[0]);
    given_argc = argc;
    return 7;
}

static void test_a_verb_comes_first(void **state) {
    (void)state;
    static const struct verb verbs[] = {{"one", run_one}, {"other", run_one}};
    char one[] = "one", near_one[] = "oen";
    char *line[] = {name, one, flag, NULL}, *wrong[] = {name, near_one, NULL},
         *early[] = {name, flag, one, NULL};
    assert_int_equal(arguments_run_verb(3, line, verbs, 2), 7);
    assert_string_equal(given, "x one");
    assert_int_equal(given_argc, 2);
    given[0] = '\0';
    assert_int_equal(arguments_run_verb(2, wrong, verbs, 2), 2);
    assert_int_equal(arguments_run_verb(3, early, verbs, 2), 2);
    assert_int_equal(arguments_run_verb(1, line, verbs, 2), 2);
    assert_string_equal(given, "");
}

static void test_nothing_is_nothing(void **state) {
    (void)state;
    struct line l = {.argv = {name}};
    assert_true(read_line(&l));
    assert_int_equal(l.n_words, 0);
    assert_null(l.text);
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
    assert_int_equal(services_find("handoff"), CONFIG_CLI);
    assert_int_equal(services_find("hand"), 0);
    assert_int_equal(services_find(""), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_stand_anywhere_and_words_keep_their_order),
        cmocka_unit_test(test_after_two_dashes_all_are_words),
        cmocka_unit_test(test_a_value_may_stand_behind_an_equals_sign),
        cmocka_unit_test(test_mistakes_are_told_with_what_to_do),
        cmocka_unit_test(test_a_slip_of_the_finger_is_found),
        cmocka_unit_test(test_a_verb_comes_first),
        cmocka_unit_test(test_nothing_is_nothing),
        cmocka_unit_test(test_times_have_units_and_bounds),
        cmocka_unit_test(test_versions_compare_as_numbers),
        cmocka_unit_test(test_a_clock_is_judged_by_how_far_it_is_off),
        cmocka_unit_test(test_a_service_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
