#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crash_point.h"

#ifdef HANDOFF_CRASH_POINTS
/* What becomes of a process that passes the point "a.b" twice: its wait status. */
static int pass_twice(const char *chosen) {
    pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        setenv("CRASH_POINT", chosen, 1);
        setenv("CRASH_POINT_PAUSE_MS", "20", 1);
        struct timespec before, after;
        clock_gettime(CLOCK_MONOTONIC, &before);
        int n_failed = crash_point("a.b") + crash_point("a.b");
        clock_gettime(CLOCK_MONOTONIC, &after);
        long ms =
            (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
        _exit(n_failed + (ms >= 20 ? 10 : 0));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_only_the_chosen_one_acts_and_once(void **state) {
    (void)state;
    assert_int_equal(WTERMSIG(pass_twice("a.b=die")), SIGKILL);
    assert_int_equal(WEXITSTATUS(pass_twice("a.b=fail")), 1);
    assert_int_equal(WEXITSTATUS(pass_twice("a.b=pause")), 10);
    assert_int_equal(WEXITSTATUS(pass_twice("a.bc=fail")), 0);
    assert_int_equal(WEXITSTATUS(pass_twice("a=fail")), 0);
    assert_int_equal(WEXITSTATUS(pass_twice("")), 0);
}
#else
static void test_a_release_has_none(void **state) {
    (void)state;
    setenv("CRASH_POINT", "a.b=fail", 1);
    assert_false(CRASH_POINT("a.b"));
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef HANDOFF_CRASH_POINTS
        cmocka_unit_test(test_only_the_chosen_one_acts_and_once),
#else
        cmocka_unit_test(test_a_release_has_none),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
