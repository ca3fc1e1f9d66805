#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
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

struct link {
    int listener, port, ours, theirs;
};

static struct link link_new(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    struct link l = {.listener = socket(AF_INET, SOCK_STREAM, 0),
                     .ours = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(bind(l.listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(l.listener, 1), 0);
    assert_int_equal(getsockname(l.listener, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(l.ours, (struct sockaddr *)&address, len), 0);
    l.theirs = accept(l.listener, NULL, NULL);
    l.port = ntohs(address.sin_port);
    return l;
}

/* Whether what is written here comes there. */
static bool works(const struct link *l) {
    char byte;
    return send(l->ours, "x", 1, MSG_NOSIGNAL) == 1 && recv(l->theirs, &byte, 1, 0) == 1;
}

static void link_done(struct link *l) {
    close(l->ours);
    close(l->theirs);
    close(l->listener);
}

static void test_a_cut_ends_the_connections_to_that_server_and_no_others(void **state) {
    (void)state;
    struct link cut = link_new(), other = link_new();
    char url[64];
    snprintf(url, sizeof(url), "amqp://a:b@127.0.0.1:%d/c", cut.port);
    setenv("HANDOFF_AMQP_URL", url, 1);
    setenv("CRASH_POINT", "a.b=fail", 1);
    assert_false(CRASH_POINT_CUT("a.c", CRASH_BROKER));
    assert_true(works(&cut));
    assert_true(CRASH_POINT_CUT("a.b", CRASH_BROKER));
    assert_false(works(&cut));
    assert_true(works(&other));
    link_done(&cut);
    link_done(&other);
}
#else
static void test_a_release_has_none(void **state) {
    (void)state;
    setenv("CRASH_POINT", "a.b=fail", 1);
    assert_false(CRASH_POINT("a.b"));
    assert_false(CRASH_POINT_CUT("a.b", CRASH_BROKER));
    CRASH_LINK("a.b", CRASH_BROKER);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef HANDOFF_CRASH_POINTS
        cmocka_unit_test(test_only_the_chosen_one_acts_and_once),
        cmocka_unit_test(test_a_cut_ends_the_connections_to_that_server_and_no_others),
#else
        cmocka_unit_test(test_a_release_has_none),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
