/* common/app: a life from start to exit code, in a child process; each step is seen in its log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "common/app.h"

enum manner {
    DRAINS_AT_ONCE,
    DRAINS_LATER,
    NEVER_DRAINS,
    FAILS,
    FAILS_LATER,
    FORGETS_A_HANDLE,
    HAS_THREADS,
    LOOKS_UP,
    LOOKS_UP_AND_NEVER_DRAINS
};

/* A service with one timer; each child process has one. */
struct part {
    struct app *app;
    uv_timer_t timer;
    uv_work_t work;
};

static enum manner manner; /* of the child */
static int never[2];       /* a pipe that nothing comes through */

static void work(uv_work_t *w) {
    (void)w;
}

/* Until the test is over, as a resolver that does not answer. */
static void look_up(uv_work_t *w) {
    char byte;
    (void)w;
    while (read(never[0], &byte, 1) < 0 && errno == EINTR)
        ;
}

static void on_worked(uv_work_t *w, int status) {
    (void)w;
    (void)status;
}

static void on_failure(uv_timer_t *timer) {
    app_fail(((struct part *)timer->data)->app);
}

static int part_start(struct app *app, void **ret_self) {
    if (manner == FAILS)
        return -ENOENT;
    struct part *part = must_alloc(sizeof(*part));
    part->app = app;
    uv_timer_init(app->loop, &part->timer);
    part->timer.data = part;
    if (manner == FAILS_LATER)
        uv_timer_start(&part->timer, on_failure, 1, 0);
    if (manner == HAS_THREADS)
        uv_queue_work(app->loop, &part->work, work, on_worked);
    if (manner >= LOOKS_UP)
        uv_queue_work(app->loop, &part->work, look_up, on_worked);
    *ret_self = part;
    return 0;
}

static void on_timer(uv_timer_t *timer) {
    app_drained(((struct part *)timer->data)->app);
}

static void part_drain(void *self) {
    struct part *part = self;
    log_info(part->app->log, "part_drains", "The part was told to.");
    if (manner == DRAINS_LATER)
        uv_timer_start(&part->timer, on_timer, 20, 0);
    else if (manner != NEVER_DRAINS && manner != LOOKS_UP_AND_NEVER_DRAINS)
        app_drained(part->app);
}

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

static void part_stop(void *self) {
    struct part *part = self;
    if (manner == FORGETS_A_HANDLE)
        uv_timer_start(&part->timer, on_timer, 1000000, 0);
    else
        uv_close((uv_handle_t *)&part->timer, on_closed);
}

static void part_reload(void *self, struct auth *keys) {
    const struct part *part = self;
    assert_null(keys); /* a state_engine verifies no tokens */
    log_debug(part->app->log, "part_told", "The part was told.");
}

static const struct app_spec spec = {.service = CONFIG_STATE_ENGINE,
                                     .start = part_start,
                                     .drain = part_drain,
                                     .stop = part_stop,
                                     .reload = part_reload};

/* Has clients, which the setting is for. */
static const struct app_spec listening = {
    .service = CONFIG_WS_FANOUT, .start = part_start, .drain = part_drain, .stop = part_stop};

/* Runs app_main in a child, whose stderr is *ret_log. */
static pid_t run_child(enum manner how, char *argument, FILE **ret_log) {
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        manner = how;
        dup2(fds[1], STDERR_FILENO);
        setenv("HANDOFF_ADMIN_LISTEN", "127.0.0.1:0", 1);
        setenv("HANDOFF_DRAIN_TIMEOUT", "200ms", 1);
        char name[] = "state_engine";
        char *argv[] = {name, argument, NULL};
        int code =
            app_main(getenv("HANDOFF_DRAIN_DELAY") ? &listening : &spec, argument ? 2 : 1, argv);
        if (how >= LOOKS_UP)
            exit(code); /* as main would: libuv's destructor and all */
        _exit(code);
    }
    close(fds[1]);
    *ret_log = fdopen(fds[0], "r");
    return pid;
}

/* Reads records until the event's; fails at the end of the log. */
static void wait_for(FILE *log, const char *event) {
    char line[8192], member[64];
    snprintf(member, sizeof(member), "\"event\":\"%s\"", event);
    while (fgets(line, sizeof(line), log))
        if (strstr(line, member))
            return;
    fail_msg("the log ended without %s", event);
}

static void check_end(pid_t pid, FILE *log, int code) {
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fclose(log);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static void check_drain(enum manner how, int signal_number, const char *event, int code) {
    FILE *log;
    pid_t pid = run_child(how, NULL, &log);
    wait_for(log, "started");
    kill(pid, signal_number);
    wait_for(log, "draining");
    kill(pid, signal_number); /* a second one changes nothing */
    wait_for(log, event);
    check_end(pid, log, code);
}

static void test_a_signal_drains_and_ends_with_0(void **state) {
    (void)state;
    check_drain(DRAINS_AT_ONCE, SIGTERM, "stopped", 0);
    check_drain(DRAINS_AT_ONCE, SIGINT, "stopped", 0);
    check_drain(DRAINS_LATER, SIGTERM, "stopped", 0);
}

/* Up to the very end, and whichever thread they meet. */
static void test_signals_without_end_change_nothing(void **state) {
    (void)state;
    for (int i = 0; i < 500; i++) {
        FILE *log;
        pid_t pid = run_child(HAS_THREADS, NULL, &log);
        wait_for(log, "started");
        siginfo_t ended = {0};
        while (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && !ended.si_pid)
            kill(pid, i % 2 ? SIGTERM : SIGINT);
        check_end(pid, log, 0);
    }
}

static void test_a_drain_that_takes_too_long_is_ended(void **state) {
    (void)state;
    check_drain(NEVER_DRAINS, SIGTERM, "drain_timeout", 0);
}

static pid_t run_delayed(const char *delay, FILE **ret_log) {
    setenv("HANDOFF_DRAIN_DELAY", delay, 1);
    setenv("HANDOFF_JWT_SECRET", "0123456789abcdef0123456789abcdef", 1);
    pid_t pid = run_child(DRAINS_AT_ONCE, NULL, ret_log);
    unsetenv("HANDOFF_DRAIN_DELAY");
    unsetenv("HANDOFF_JWT_SECRET");
    wait_for(*ret_log, "started");
    kill(pid, SIGTERM);
    wait_for(*ret_log, "draining");
    return pid;
}

/* The first would take a minute: the second signal is what goes on. */
static void test_parts_are_told_after_the_delay_or_at_a_second_signal(void **state) {
    (void)state;
    FILE *log;
    pid_t pid = run_delayed("60s", &log);
    kill(pid, SIGTERM);
    wait_for(log, "part_drains");
    wait_for(log, "stopped");
    check_end(pid, log, 0);
    pid = run_delayed("20ms", &log);
    wait_for(log, "part_drains");
    wait_for(log, "stopped");
    check_end(pid, log, 0);
}

static void test_a_part_that_cannot_go_on_ends_it_with_1(void **state) {
    (void)state;
    FILE *log;
    pid_t pid = run_child(FAILS_LATER, NULL, &log);
    wait_for(log, "part_drains");
    wait_for(log, "stopped");
    check_end(pid, log, 1);
}

static void test_a_forgotten_handle_is_told_and_does_not_hang(void **state) {
    (void)state;
    check_drain(FORGETS_A_HANDLE, SIGTERM, "handles_left", 1);
}

static void test_a_lookup_without_end_does_not_hang(void **state) {
    (void)state;
    assert_int_equal(pipe(never), 0);
    check_drain(LOOKS_UP, SIGTERM, "stopped", 0);
    check_drain(LOOKS_UP_AND_NEVER_DRAINS, SIGTERM, "drain_timeout", 0);
    close(never[0]);
    close(never[1]);
}

static void test_a_failed_start_ends_with_1(void **state) {
    (void)state;
    FILE *log;
    pid_t pid = run_child(FAILS, NULL, &log);
    wait_for(log, "start_failed");
    check_end(pid, log, 1);
}

static void test_an_unknown_argument_ends_with_2(void **state) {
    (void)state;
    char argument[] = "--chek-config", line[512] = "";
    FILE *log;
    pid_t pid = run_child(DRAINS_AT_ONCE, argument, &log);
    assert_non_null(fgets(line, sizeof(line), log));
    assert_non_null(strstr(line, "bad argument \"--chek-config\"; allowed: "));
    check_end(pid, log, 2);
}

static void test_a_bad_configuration_ends_with_2(void **state) {
    (void)state;
    char line[512] = "";
    FILE *log;
    setenv("HANDOFF_LOG_LEVEL", "loud", 1);
    pid_t pid = run_child(DRAINS_AT_ONCE, NULL, &log);
    unsetenv("HANDOFF_LOG_LEVEL");
    assert_non_null(fgets(line, sizeof(line), log));
    assert_non_null(strstr(line, "HANDOFF_LOG_LEVEL"));
    check_end(pid, log, 2);
}

static void write_level(const char *path, const char *level) {
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(level, file);
    fclose(file);
}

/* What is right is taken at once, what is not changes nothing; an end comes after any of them. */
static void test_a_hangup_reads_files_again(void **state) {
    (void)state;
    char path[] = "/tmp/handoff-test-level-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_level(path, "info\n");
    setenv("HANDOFF_LOG_LEVEL_FILE", path, 1);
    FILE *log;
    pid_t pid = run_child(DRAINS_AT_ONCE, NULL, &log);
    unsetenv("HANDOFF_LOG_LEVEL_FILE");
    wait_for(log, "started");
    write_level(path, "loud");
    kill(pid, SIGHUP);
    wait_for(log, "reload_refused");
    write_level(path, "debug");
    kill(pid, SIGHUP);
    wait_for(log, "part_told"); /* not heard below debug */
    wait_for(log, "reloaded");
    write_level(path, "error");
    kill(pid, SIGHUP);
    kill(pid, SIGTERM);
    check_end(pid, log, 0);
    unlink(path);
}

int main(void) {
    clearenv(); /* the runner's own HANDOFF_ names are no settings */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_signal_drains_and_ends_with_0),
        cmocka_unit_test(test_signals_without_end_change_nothing),
        cmocka_unit_test(test_a_hangup_reads_files_again),
        cmocka_unit_test(test_a_drain_that_takes_too_long_is_ended),
        cmocka_unit_test(test_parts_are_told_after_the_delay_or_at_a_second_signal),
        cmocka_unit_test(test_a_part_that_cannot_go_on_ends_it_with_1),
        cmocka_unit_test(test_a_forgotten_handle_is_told_and_does_not_hang),
        cmocka_unit_test(test_a_lookup_without_end_does_not_hang),
        cmocka_unit_test(test_a_failed_start_ends_with_1),
        cmocka_unit_test(test_an_unknown_argument_ends_with_2),
        cmocka_unit_test(test_a_bad_configuration_ends_with_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
