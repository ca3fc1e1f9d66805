/* Redis, alone or a cluster: each node that the URL names, its settings, and what each service's
 * user may. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "common/store.h"
#include "common/store_check.h"
#include "tools/handoff/doctor_parts.h"

#define N_SLOTS 16384
#define FULL_PERCENT 80

/* ---- one node ---- */

static void look_at_version(struct report *r, const struct store_check *check) {
    char version[32];
    store_check_info(check, "redis_version", version, sizeof(version));
    bool is_fine = doctor_is_since(version, 7, 0);
    report_add(r, is_fine ? REPORT_OK : REPORT_FAILED, "redis.version", "",
               is_fine ? "" : "Handoff needs Redis 7", "%s", version);
}

static void look_at_mode(struct report *r, const struct store_check *check, bool is_cluster) {
    char enabled[8];
    store_check_info(check, "cluster_enabled", enabled, sizeof(enabled));
    bool is_node = enabled[0] == '1', is_fine = is_node == is_cluster;
    report_add(r, is_fine ? REPORT_OK : REPORT_FAILED, "redis.mode", "",
               is_fine   ? ""
               : is_node ? "HANDOFF_REDIS_URL has to begin with redis+cluster://"
                         : "HANDOFF_REDIS_URL has to begin with redis://",
               "%s", is_node ? "a cluster's node" : "one Redis");
}

static void look_at_policy(struct report *r, const struct store_check *check) {
    char policy[32];
    store_check_info(check, "maxmemory_policy", policy, sizeof(policy));
    bool is_fine = strcmp(policy, "noeviction") == 0;
    report_add(r, is_fine ? REPORT_OK : REPORT_FAILED, "redis.maxmemory-policy", "",
               is_fine ? ""
                       : "CONFIG SET maxmemory-policy noeviction, and in redis.conf: a key that "
                         "goes by itself is a lost session",
               "%s", policy);
}

static void look_at_durability(struct report *r, const struct store_check *check) {
    char enabled[8], status[16];
    store_check_info(check, "aof_enabled", enabled, sizeof(enabled));
    store_check_info(check, "aof_last_write_status", status, sizeof(status));
    bool is_on = enabled[0] == '1', is_fine = is_on && strcmp(status, "ok") == 0;
    report_add(r, is_fine ? REPORT_OK : REPORT_WARNING, "redis.appendonly", "",
               is_fine ? ""
               : is_on ? "is its disk full? then, once there is room: BGREWRITEAOF"
                       : "appendonly yes, appendfsync everysec: a restart loses what is in memory, "
                         "and it is rebuilt from PostgreSQL under new epochs",
               "%s",
               !is_on    ? "no"
               : is_fine ? "yes"
                         : "yes, and the last write failed");
}

static void look_at_memory(struct report *r, const struct store_check *check) {
    char used[24], most[24];
    store_check_info(check, "used_memory", used, sizeof(used));
    store_check_info(check, "maxmemory", most, sizeof(most));
    uint64_t n_used = strtoull(used, NULL, 10), n_most = strtoull(most, NULL, 10);
    if (!n_most) {
        report_add(r, REPORT_WARNING, "redis.memory", "",
                   "set maxmemory: then a full Redis refuses writes (503), and the kernel does not "
                   "end it",
                   "%" PRIu64 " MiB used, without a bound", n_used >> 20);
        return;
    }
    bool is_fine = n_used / FULL_PERCENT < n_most / 100;
    report_add(r, is_fine ? REPORT_OK : REPORT_WARNING, "redis.memory", "",
               is_fine ? "" : "more memory or nodes, or a shorter HANDOFF_COLD_AFTER",
               "%" PRIu64 " of %" PRIu64 " MiB used", n_used >> 20, n_most >> 20);
}

static void look_at_clock(struct report *r, struct store_check *check) {
    int64_t now;
    if (store_check_time(check, &now))
        doctor_clock(r, "redis.clock", now);
    else
        report_add(r, REPORT_FAILED, "redis.clock", "", "the user needs +time", "TIME is refused");
}

/* Those that have slots and do not answer; none when all of it can be reached. */
static void find_silent(const struct store_check *check, size_t n_masters, struct buf *ret) {
    char why[STORE_CHECK_WHY_CAP];
    for (size_t i = 0; i < n_masters; i++) {
        _cleanup_(store_check_closep) struct store_check *master = NULL;
        if (store_check_open_master(&master, check, i, why))
            buf_printf(ret, "; %s", why);
    }
}

/* Whether each slot has a master that answers. */
static bool look_at_slots(struct report *r, struct store_check *check) {
    char why[STORE_CHECK_WHY_CAP];
    _cleanup_(buf_done) struct buf silent = BUF_NULL;
    unsigned n_slots = 0;
    size_t n_masters = 0;
    if (!store_check_slots(check, &n_slots, &n_masters, why)) {
        report_add(r, REPORT_FAILED, "redis.cluster", "", "the users need +cluster|slots", "%s",
                   why);
        return false;
    }
    find_silent(check, n_masters, &silent);
    bool is_fine = n_slots == N_SLOTS && !silent.len;
    report_add(r, is_fine ? REPORT_OK : REPORT_FAILED, "redis.cluster", "",
               is_fine ? ""
                       : "start what is down, or let a replica take over; redis-cli --cluster "
                         "check, then fix: sessions of these slots are 503",
               "%u of %u slots have a master, of %zu%s", n_slots, N_SLOTS, n_masters,
               silent.len ? silent.data : "");
    return is_fine;
}

static void look_at_node(struct report *r, struct store_check *check, bool is_cluster) {
    char why[STORE_CHECK_WHY_CAP];
    report_add(r, REPORT_OK, "redis.reached", "", "", "%s", store_check_address(check));
    if (!store_check_ask_info(check, why)) {
        report_add(r, REPORT_FAILED, "redis.info", "", "the user needs +info", "%s", why);
        return;
    }
    look_at_version(r, check);
    look_at_mode(r, check, is_cluster);
    look_at_policy(r, check);
    look_at_durability(r, check);
    look_at_memory(r, check);
    look_at_clock(r, check);
}

/* ---- rights ---- */

/* A command that changes nothing: it is about keys that no session has, or only where they are. */
struct right {
    unsigned services;
    bool of_cluster; /* asked there alone */
    const char *words[6];
};

#define NOBODY "{00000000-0000-0000-0000-000000000000}"
#define READS_SESSIONS (CONFIG_ALL | CONFIG_CLI)
#define SCRIPTS (CONFIG_SESSION_API | CONFIG_WS_FANOUT | CONFIG_STATE_ENGINE)
#define WRITES (CONFIG_WS_FANOUT | CONFIG_STATE_ENGINE)

static const char deltas[] = "session:" NOBODY ":deltas";

static const struct right rights[] = {
    {READS_SESSIONS, false, {"HGETALL", "session:" NOBODY ":meta"}},
    {READS_SESSIONS, false, {"GET", "session:" NOBODY ":state"}},
    {READS_SESSIONS, false, {"XRANGE", deltas, "-", "+", "COUNT", "1"}},
    {READS_SESSIONS, false, {"TIME"}},
    {READS_SESSIONS, true, {"CLUSTER", "SLOTS"}},
    {SCRIPTS, false, {"EVAL", "return 1", "0"}},
    {SCRIPTS, false, {"SCRIPT", "LOAD", "return 1"}},
    {CONFIG_SESSION_API, false, {"SET", "rate:{user:none}", "0", "XX"}},
    {CONFIG_SESSION_API, false, {"SET", "handoff:" NOBODY, "0", "XX"}},
    {WRITES, false, {"DEL", "session:" NOBODY ":presence"}},
    {WRITES, false, {"DEL", "instance:{handoff doctor}"}},
    {WRITES, false, {"ZREM", "attention:{0}", "handoff doctor"}},
    {CONFIG_STATE_ENGINE, false, {"DEL", "session:" NOBODY ":state"}},
    {CONFIG_STATE_ENGINE, false, {"DEL", "user:" NOBODY ":idem:none"}},
    {CONFIG_STATE_ENGINE, false, {"SET", "store:{none}:memory", "0", "XX"}},
    {CONFIG_STATE_ENGINE, true, {"WAIT", "0", "1"}},
};

static size_t count_words(const struct right *right) {
    size_t n = 0;
    while (n < N_ELEMENTS(right->words) && right->words[n])
        n++;
    return n;
}

/* Another node has the key, or none has it now: no refusal. A right is judged before that. */
static bool is_elsewhere(const char *why) {
    return strncmp(why, "MOVED ", 6) == 0 || strncmp(why, "CLUSTERDOWN ", 12) == 0;
}

static void look_at_rights(struct report *r, const struct config *c, struct store_check *check,
                           bool is_cluster) {
    char why[STORE_CHECK_WHY_CAP];
    size_t n_wrong = 0;
    for (size_t i = 0; i < N_ELEMENTS(rights); i++) {
        const struct right *right = &rights[i];
        if (!(right->services & (unsigned)c->service) || (right->of_cluster && !is_cluster) ||
            store_check_ask(check, right->words, count_words(right), why) || is_elsewhere(why))
            continue;
        n_wrong++;
        report_add(r, REPORT_FAILED, "redis.rights", c->service_name,
                   strncmp(why, "NOPERM", 6) == 0
                       ? "give the user the rights of compose/redis/users.acl (ACL SETUSER)"
                       : "Redis' log says more",
                   "%s %s: %s", right->words[0], right->words[1] ? right->words[1] : "", why);
    }
    if (!n_wrong)
        report_add(r, REPORT_OK, "redis.rights", c->service_name, "", "all that it needs");
}

/* ---- the whole ---- */

/* Of a cluster that is whole without it a node may be down. */
static void tell_away(struct report *r, const char *why, int err, bool is_spare) {
    report_add(r, is_spare && err != -EACCES ? REPORT_WARNING : REPORT_FAILED, "redis.reached", "",
               err == -EACCES ? "user and password of HANDOFF_REDIS_URL: ACL LIST"
               : is_spare     ? "the cluster is whole without it: is it down, or no node any more?"
                              : "is Redis up, and HANDOFF_REDIS_URL right?",
               "%s", why);
}

/* The server, once for all services: every node that the URL names. */
static void look_at_nodes(struct report *r, const struct config *c, size_t n, bool is_cluster) {
    bool is_whole = false, has_asked = false;
    int errors[STORE_CHECK_MAX_NODES] = {0};
    char reasons[STORE_CHECK_MAX_NODES][STORE_CHECK_WHY_CAP];
    for (size_t i = 0; i < n; i++) {
        _cleanup_(store_check_closep) struct store_check *check = NULL;
        errors[i] = store_check_open(&check, c->redis_url, i, reasons[i]);
        if (errors[i])
            continue;
        look_at_node(r, check, is_cluster);
        if (is_cluster && !has_asked)
            is_whole = look_at_slots(r, check);
        has_asked = true;
    }
    for (size_t i = 0; i < n; i++)
        if (errors[i])
            tell_away(r, reasons[i], errors[i], is_whole);
}

void doctor_redis(struct report *r, const struct config *c, bool is_first) {
    size_t n = 0;
    bool is_cluster = false;
    if (store_check_url(c->redis_url, &n, &is_cluster)) {
        report_add(r, REPORT_FAILED, "redis.url", c->service_name,
                   "redis://[user:password@]host:port[/db], or redis+cluster:// with some of its "
                   "nodes",
                   "HANDOFF_REDIS_URL cannot be used");
        return;
    }
    if (is_first)
        look_at_nodes(r, c, n, is_cluster);
    for (size_t i = 0; i < n; i++) {
        _cleanup_(store_check_closep) struct store_check *check = NULL;
        char why[STORE_CHECK_WHY_CAP];
        if (store_check_open(&check, c->redis_url, i, why))
            continue;
        look_at_rights(r, c, check, is_cluster);
        break;
    }
}
