/* handoff: the command for those who run Handoff. `handoff dead-letters` looks at what the services
 * put away, puts it back where it came from, or drops it; `handoff tail` shows what happens in
 * sessions. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cli/arguments.h"
#include "cli/bench.h"
#include "cli/dead_letters.h"
#include "cli/drain.h"
#include "cli/events_tail.h"
#include "cli/sessions.h"
#include "cli/tail.h"
#include "common/config.h"
#include "common/version.h"

extern char **environ;

static const char usage[] =
    "usage: handoff dead-letters list [--queue QUEUE] [--json]\n"
    "       handoff dead-letters show ID\n"
    "       handoff dead-letters replay ID | --all [--queue QUEUE]\n"
    "       handoff dead-letters drop   ID | --all [--queue QUEUE]   --yes\n"
    "       handoff tail --url URL --token-file FILE [--since POSITION] [--device ID] [--json]\n"
    "                    [--ca-file FILE] SESSION...\n"
    "       handoff --help | --version\n"
    "\n"
    "  list    a line for each dead letter; --json: an object on each line\n"
    "  show    its headers and its body\n"
    "  replay  puts it back into the queue that it came from, and then takes it away here\n"
    "  drop    takes it away for good\n"
    "\n"
    "  ID      as list shows it\n"
    "  QUEUE   audit_writer.dead or state_engine.dead; both unless it is given\n"
    "\n"
    "  tail    a line for each event of the sessions, as they come, until it is interrupted:\n"
    "          time, type, version, device, what changed, separated by tabs; before them the\n"
    "          session, where there are several. A lost connection is made again, and nothing\n"
    "          is missed or shown twice; where that cannot be, a line `state_sync` says why\n"
    "  URL     of ws_fanout: ws://localhost:8081, wss://handoff.example\n"
    "  FILE    has the token, and is read again when one runs out\n"
    "  --since from the event after this version on (0: all that are kept); else from now on\n"
    "  --device  who listens, where the token does not say it by its claim device_id\n"
    "  --json  each event as it came, an object on each line\n"
    "  --ca-file  who may have signed the server's certificate (PEM)\n"
    "\n"
    "Ends with 0 when all of it was done (tail: when it was interrupted, and missed nothing), 1 "
    "when\n"
    "not, 2 for a mistake in the command or the configuration. dead-letters is configured by the\n"
    "environment, as the services are:\n";

/* What reads its own words, and tells how by --help. */
static const struct {
    const char *name, *about;
    int (*run)(int argc, char **argv); /* argv[0] is the name; the exit code */
} commands[] = {
    {"sessions", "list, show, events, replay: what PostgreSQL and Redis know", sessions_run},
    {"bench", "a self-test: how fast an installation is, as devices see it", bench_run},
    {"drain", "an instance ends, and is watched as it does", drain_run},
};

static void print_help(FILE *out) {
    fputs(usage, out);
    for (size_t i = 0; i < N_ELEMENTS(commands); i++)
        fprintf(out, "  handoff %-10s %s; --help says how\n", commands[i].name, commands[i].about);
    fputs("  handoff tail 'session.*.status': events by a routing pattern; --help after it says "
          "how\n\n",
          out);
    config_print_rows(CONFIG_CLI, out);
}

static int run(const struct arguments *a) {
    struct config config = {0};
    if (a->verb == VERB_TAIL)
        return tail_run(a);
    if (config_load(CONFIG_CLI, (const char *const *)environ, &config, stderr) < 0)
        return 2;
    int code = dead_letters_run(a, &config);
    config_done(&config);
    return code;
}

int main(int argc, char **argv) {
    struct arguments a;
    json_set_alloc_funcs(must_malloc, free);
    for (size_t i = 0; argc > 1 && i < N_ELEMENTS(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "tail") == 0 && events_tail_is_meant(argc - 1, argv + 1))
        return events_tail_run(argc - 1, argv + 1);
    const char *mistake = arguments_parse(argc, argv, &a);
    if (mistake) {
        fprintf(stderr, "handoff: %s\n\n%s", mistake, "Try handoff --help.\n");
        return 2;
    }
    if (a.verb == VERB_VERSION)
        printf("handoff %s\n", HANDOFF_VERSION);
    if (a.verb == VERB_HELP)
        print_help(stdout);
    return a.verb == VERB_VERSION || a.verb == VERB_HELP ? 0 : run(&a);
}
