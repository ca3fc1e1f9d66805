/* Each check is a question to the server itself, asked as the user that the service comes as, so
 * that what is ok here is so for the service. Nothing is changed: what would be is asked in a way
 * that comes to nothing (common/bus_check.h). */
#include "tools/handoff/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "tools/handoff/doctor_parts.h"
#include "tools/handoff/services.h"

const char doctor_usage[] =
    "handoff doctor [--service SERVICE] [--json]\n"
    "\n"
    "  Looks at all that the services need, as the environment configures them:\n"
    "  RabbitMQ, Redis and PostgreSQL (reached, version, settings, rights, topology,\n"
    "  schema, clocks), keys for tokens, open files. A line for each check, ok,\n"
    "  warning or failed, and what to do. Nothing is changed, and services may run\n"
    "  meanwhile.\n"
    "\n"
    "  --service  session_api, state_engine, ws_fanout or audit_writer alone, where\n"
    "             each has an environment of its own; handoff: what this command\n"
    "             needs\n"
    "  --json     an object on each line: state, check, service, found, todo\n"
    "\n"
    "Ends with 0 when nothing failed, 1 when something did, 2 for a mistake in the\n"
    "command.\n";

#define CLOCK_WARNS_MS 2000
#define CLOCK_FAILS_MS 30000 /* the leeway of a token's times */

bool doctor_is_since(const char *version, int major, int minor) {
    int has_major = 0, has_minor = 0;
    if (sscanf(version, "%d.%d", &has_major, &has_minor) < 1)
        return false;
    return has_major > major || (has_major == major && has_minor >= minor);
}

void doctor_clock(struct report *r, const char *check, int64_t server_ms) {
    int64_t off_ms = server_ms - timestamp_wall_ms();
    int64_t size_ms = off_ms < 0 ? -off_ms : off_ms;
    enum report_state state = size_ms >= CLOCK_FAILS_MS   ? REPORT_FAILED
                              : size_ms >= CLOCK_WARNS_MS ? REPORT_WARNING
                                                          : REPORT_OK;
    report_add(r, state, check, "",
               state == REPORT_OK ? "" : "let NTP keep both clocks: tokens' times have 30 s leeway",
               "%" PRId64 ".%03" PRId64 " s %s this machine's", size_ms / 1000, size_ms % 1000,
               off_ms < 0 ? "behind" : "ahead of");
}

/* Whether no service before number i has the same text there. */
static bool is_first(const struct services *s, size_t i, size_t offset, unsigned users) {
    const char *mine, *other;
    memcpy(&mine, (const char *)&s->configs[i] + offset, sizeof(mine));
    for (size_t before = 0; before < i; before++) {
        memcpy(&other, (const char *)&s->configs[before] + offset, sizeof(other));
        if ((s->configs[before].service & users) && strcmp(mine, other) == 0)
            return false;
    }
    return true;
}

static void load(struct report *r, unsigned wanted, struct services *s) {
    for (unsigned bit = 1; bit <= SERVICES_LAST; bit <<= 1) {
        if (!(wanted & bit))
            continue;
        _cleanup_(freep) char *why = services_load((enum config_service)bit, &s->configs[s->n]);
        const char *name = services_name((enum config_service)bit);
        if (*why)
            report_add(r, REPORT_FAILED, "config", name,
                       "handoff config --service says what is allowed", "%s", why);
        else
            report_add(r, REPORT_OK, "config", name, "", "every value is allowed");
        s->n += !*why;
    }
}

#define ASKS_DATABASE (CONFIG_SESSION_API | CONFIG_STATE_ENGINE | CONFIG_AUDIT_WRITER | CONFIG_CLI)
#define ANYBODY (CONFIG_ALL | CONFIG_CLI)

static void look(struct report *r, const struct services *s) {
    for (size_t i = 0; i < s->n; i++)
        doctor_rabbitmq(r, &s->configs[i],
                        is_first(s, i, offsetof(struct config, amqp_url), ANYBODY));
    for (size_t i = 0; i < s->n; i++)
        doctor_redis(r, &s->configs[i],
                     is_first(s, i, offsetof(struct config, redis_url), ANYBODY));
    for (size_t i = 0; i < s->n; i++)
        if (s->configs[i].service & ASKS_DATABASE)
            doctor_postgresql(r, &s->configs[i],
                              is_first(s, i, offsetof(struct config, database_url), ASKS_DATABASE));
    for (size_t i = 0; i < s->n; i++)
        if (s->configs[i].service & (CONFIG_SESSION_API | CONFIG_WS_FANOUT))
            doctor_here(r, &s->configs[i]);
}

int doctor_run(int argc, char **argv) {
    struct report r = {0};
    struct services s = {.n = 0};
    unsigned wanted;
    if (!services_read(argc, argv, &wanted, &r.json))
        return 2;
    load(&r, wanted, &s);
    look(&r, &s);
    services_done(&s);
    return report_end(&r);
}
