/* What the tests of the store share: a real Redis (HANDOFF_TEST_REDIS_URL), a session with every
 * member set, and a plain connection to look behind the store's back. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/timestamp.h"
#include "common/store.h"
#include "common/store_batch.h"

static inline const char *fixture_url(void) {
    const char *url = getenv("HANDOFF_TEST_REDIS_URL");
    if (!url || !*url) {
        fprintf(stderr, "HANDOFF_TEST_REDIS_URL is not set: these tests need a Redis of their own, "
                        "such as redis://127.0.0.1:6482\n");
        exit(1);
    }
    return url;
}

/* The fixture's Redis has no password. */
static inline redisContext *fixture_redis(void) {
    char host[64];
    int port;
    assert_int_equal(sscanf(fixture_url(), "redis://%63[^:]:%d", host, &port), 2);
    redisContext *c = redisConnect(host, port);
    assert_non_null(c);
    assert_int_equal(c->err, 0);
    return c;
}

/* One command; the answer as text ("(nil)" for none), in a buffer of this function's. */
__attribute__((format(printf, 2, 3))) static inline const char *
fixture_ask(redisContext *c, const char *format, ...) {
    static char text[4096];
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(c, format, args);
    va_end(args);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_INTEGER)
        snprintf(text, sizeof(text), "%lld", reply->integer);
    else if (reply->type == REDIS_REPLY_ARRAY)
        snprintf(text, sizeof(text), "%s",
                 reply->elements ? reply->element[reply->elements - 1]->str : "");
    else
        snprintf(text, sizeof(text), "%s", reply->str ? reply->str : "(nil)");
    freeReplyObject(reply);
    return text;
}

/* The server's process: it runs on this machine. */
static inline pid_t fixture_pid(redisContext *c) {
    const char *at = strstr(fixture_ask(c, "INFO server"), "process_id:");
    assert_non_null(at);
    pid_t pid = (pid_t)strtol(at + strlen("process_id:"), NULL, 10);
    assert_true(pid > 1);
    return pid;
}

/* Of the node that the tests have now. */
static inline void fixture_run_id(char ret[static 41]) {
    redisContext *c = fixture_redis();
    const char *at = strstr(fixture_ask(c, "INFO server"), "run_id:");
    assert_non_null(at);
    snprintf(ret, 41, "%.40s", at + strlen("run_id:"));
    redisFree(c);
}

static inline void fixture_session(struct session *s) {
    json_t *data =
        json_pack("{s:f,s:{s:s}}", "progress", 75.0, "preferences", "theme", "d\xc3\xa4rk");
    *s = (struct session){
        .name = must_strdup("Evening \xf0\x9f\x8c\x99 \"meditation\""),
        .type = "meditation",
        .status = SESSION_ACTIVE,
        .position = {1, 1},
        .created_at = 1770897600000,
        .updated_at = 1770897600001,
        .touched_at = 1770897600003,
        .ttl_seconds = 7200,
        .on_idle = SESSION_IDLE_EXPIRE,
        .active_device = "device-123",
        .last_active_device = "device-122",
        .last_modified = 1770897600004,
        .modified_by = "device-121",
        .snapshots = "1",
    };
    fixture_run_id(s->run_id);
    uuid_v7(timestamp_wall_ms(), s->id);
    uuid_v4(s->user_id);
    session_set_data(s, data);
    json_decref(data);
}

static inline struct store_batch *fixture_batch(void) {
    struct store_batch *b = NULL;
    char why[256];
    assert_int_equal(store_batch_new(&b, fixture_url()), 0);
    if (store_batch_connect(b, why)) {
        fprintf(stderr, "no Redis at %s: %s\n", fixture_url(), why);
        exit(1);
    }
    return b;
}

#define FIXTURE_COMMAND "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001"
#define FIXTURE_HASH "1111111111111111111111111111111111111111111111111111111111111111"
#define FIXTURE_PRINT "2222222222222222222222222222222222222222222222222222222222222222"

/* A save of s from the version before it. */
static inline struct store_save fixture_save(const struct session *s, int64_t now) {
    return (struct store_save){
        .session = s,
        .expected = {s->position.version - 1, s->position.version > 1 ? s->position.epoch : 0},
        .writes_state = true,
        .command_id = FIXTURE_COMMAND,
        .event = "{\"type\":\"state_delta\"}",
        .event_len = strlen("{\"type\":\"state_delta\"}"),
        .now = now,
    };
}

static inline enum store_save_result fixture_save_one(struct store_batch *b,
                                                      struct store_save save) {
    assert_int_equal(store_batch_save(b, &save, 1, NULL, 0, NULL, 0), 0);
    if (save.result == STORE_REFUSED)
        fprintf(stderr, "refused: %s\n", save.text);
    return save.result;
}
