/* The effective configuration, secrets redacted, and what is wrong with it: each value, what only
 * several together make, keys for tokens and addresses; no server is asked (that is doctor's). */
#include "tools/handoff/config.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/bus_url.h"
#include "common/store_check.h"
#include "tools/handoff/keys.h"
#include "tools/handoff/services.h"

const char config_usage[] =
    "handoff config [--service SERVICE] [--json]\n"
    "\n"
    "  The effective configuration of each service, with where each value comes\n"
    "  from (default, environment, file), secrets redacted; and what is wrong with\n"
    "  it, as the service would say when it starts.\n"
    "\n"
    "  --service  session_api, state_engine, ws_fanout or audit_writer alone, where\n"
    "             each has an environment of its own; handoff: of this command\n"
    "  --json     an object on each line: service, values, mistakes\n"
    "\n"
    "Ends with 0 when there is nothing wrong, 1 when there is, 2 for a mistake in\n"
    "the command.\n";

extern char **environ;

/* A line for each mistake, beside those that config_load told. */
static void check(const struct config *c, struct buf *mistakes) {
    struct bus_url url;
    size_t n;
    bool is_cluster;
    if (bus_url_parse(&url, c->amqp_url) < 0)
        buf_printf(mistakes,
                   "%s: HANDOFF_AMQP_URL has a bad value; allowed: "
                   "amqp://user:password@host:port/vhost, no TLS\n",
                   c->service_name);
    else
        bus_url_done(&url);
    if (store_check_url(c->redis_url, &n, &is_cluster))
        buf_printf(mistakes,
                   "%s: HANDOFF_REDIS_URL has a bad value; allowed: "
                   "redis://[user:password@]host:port[/db], or redis+cluster://\n",
                   c->service_name);
    if (!(c->service & (CONFIG_SESSION_API | CONFIG_WS_FANOUT)))
        return;
    _cleanup_(auth_freep) struct auth *auth = NULL;
    _cleanup_(freep) char *error = NULL;
    if (keys_load(&auth, c, &error))
        buf_printf(mistakes, "%s: %s\n", c->service_name, error);
}

static void print_json(enum config_service service, const struct config *c, bool is_loaded,
                       const char *mistakes) {
    printf("{\"service\":\"%s\",\"values\":[", services_name(service));
    if (is_loaded)
        config_print_json(c, (const char *const *)environ, stdout);
    fputs("],\"mistakes\":[", stdout);
    const char *separator = "";
    while (*mistakes) {
        size_t len = strcspn(mistakes, "\n");
        struct buf line = BUF_NULL;
        buf_put_json(&line, mistakes, len);
        printf("%s%s", separator, line.data);
        buf_done(&line);
        separator = ",";
        mistakes += len + (mistakes[len] == '\n');
    }
    puts("]}");
}

static void print(enum config_service service, const struct config *c, bool is_loaded,
                  const char *mistakes) {
    printf("# %s\n", services_name(service));
    if (is_loaded)
        config_print_values(c, (const char *const *)environ, stdout);
    fflush(stdout);
    fputs(mistakes, stderr);
}

/* Whether there is nothing wrong. */
static bool look(enum config_service service, bool json) {
    struct config c = {0};
    struct buf mistakes = BUF_NULL;
    _cleanup_(freep) char *told = services_load(service, &c);
    bool is_loaded = !*told;
    buf_puts(&mistakes, told);
    if (is_loaded)
        check(&c, &mistakes);
    (json ? print_json : print)(service, &c, is_loaded, mistakes.data);
    bool is_fine = mistakes.len == 0;
    buf_done(&mistakes);
    if (is_loaded)
        config_done(&c);
    return is_fine;
}

int config_run(int argc, char **argv) {
    unsigned wanted;
    bool json = false, is_fine = true;
    if (!services_read(argc, argv, &wanted, &json))
        return 2;
    for (unsigned bit = 1; bit <= SERVICES_LAST; bit <<= 1)
        if (wanted & bit)
            is_fine &= look((enum config_service)bit, json);
    return fflush(stdout) == 0 && is_fine ? 0 : 1;
}
