/* handoff: the command for those who run Handoff. A command is a row of the table here. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/config.h"
#include "common/version.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/bench.h"
#include "tools/handoff/command.h"
#include "tools/handoff/completion.h"
#include "tools/handoff/config.h"
#include "tools/handoff/dead_letters.h"
#include "tools/handoff/doctor.h"
#include "tools/handoff/drain.h"
#include "tools/handoff/migrate.h"
#include "tools/handoff/nearest.h"
#include "tools/handoff/rebalance.h"
#include "tools/handoff/sessions.h"
#include "tools/handoff/tail.h"
#include "tools/handoff/token.h"

/* clang-format off */
const struct command commands[] = {
    {"bench",        bench_usage,        bench_run,        0},
    {"completion",   completion_usage,   completion_run,   0},
    {"config",       config_usage,       config_run,       0},
    {"dead-letters", dead_letters_usage, dead_letters_run, CONFIG_CLI},
    {"doctor",       doctor_usage,       doctor_run,       0},
    {"drain",        drain_usage,        drain_run,        0},
    {"migrate",      migrate_usage,      migrate_run,      0},
    {"rebalance",    rebalance_usage,    rebalance_run,    0},
    {"sessions",     sessions_usage,     sessions_run,     CONFIG_CLI},
    {"tail",         tail_usage,         tail_run,         CONFIG_CLI},
    {"token",        token_usage,        token_run,        0},
    {NULL,           NULL,               NULL,             0},
};
/* clang-format on */

static const char common_usage[] =
    "handoff COMMAND --help\n"
    "handoff --help | --version\n"
    "\n"
    "Ends with 0 when all of it was done, 1 when not, 2 for a mistake in the command\n"
    "or the configuration, which is the environment's, as the services have it\n"
    "(HANDOFF_AMQP_URL ...: docs/CONFIG.md).\n";

/* The lines up to the first empty one; what is after it. */
static const char *print_synopsis(const char *usage, const char *before) {
    while (*usage && *usage != '\n') {
        int len = (int)strcspn(usage, "\n");
        printf("%s%.*s\n", before, len, usage);
        before = "       ";
        usage += len + (usage[len] == '\n');
    }
    return usage;
}

static int print_overview(void) {
    const char *before = "usage: ";
    for (const struct command *c = commands; c->name; c++) {
        print_synopsis(c->usage, before);
        before = "       ";
    }
    fputs(print_synopsis(common_usage, before), stdout);
    return 0;
}

static int print_help(const struct command *c) {
    fputs(print_synopsis(c->usage, "usage: "), stdout);
    if (c->config) {
        fputs("\nConfigured by the environment, as the services are. A name marked * may end in\n"
              "_FILE instead: the value is then read from that file.\n",
              stdout);
        config_print_rows((enum config_service)c->config, stdout);
    }
    return 0;
}

static const struct command *find(const char *name) {
    const struct command *c = commands;
    while (c->name && strcmp(c->name, name) != 0)
        c++;
    return c->name ? c : NULL;
}

static bool asks_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Wherever it stands, whatever else is wrong. */
static bool wants_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (asks_help(argv[i]))
            return true;
    return false;
}

static int refuse(const char *name) {
    const char *names[N_ELEMENTS(commands)] = {0}, *meant = NULL;
    size_t n = 0;
    for (; commands[n].name; n++)
        names[n] = commands[n].name;
    if (name)
        meant = nearest(name, strlen(name), names, n);
    fprintf(stderr, name ? "handoff: There is no command %.60s." : "handoff: What is to be done?",
            name);
    if (meant)
        fprintf(stderr, " Is %s meant?", meant);
    fputs("\n\nTry handoff --help. Its commands:", stderr);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, " %s", names[i]);
    fputc('\n', stderr);
    return 2;
}

static int help(int argc, char **argv) {
    const struct command *c = argc > 2 ? find(argv[2]) : NULL;
    return c ? print_help(c) : argc > 2 ? refuse(argv[2]) : print_overview();
}

static int run(int argc, char **argv) {
    if (argc < 2)
        return refuse(NULL);
    if (asks_help(argv[1]) || strcmp(argv[1], "help") == 0)
        return help(argc, argv);
    if (strcmp(argv[1], "--version") == 0) {
        printf("handoff %s\n", HANDOFF_VERSION);
        return 0;
    }
    const struct command *c = find(argv[1]);
    if (!c)
        return refuse(argv[1]);
    return wants_help(argc - 1, argv + 1) ? print_help(c) : c->run(argc - 1, argv + 1);
}

/* A script must not take half of it for all: behind stdout may be a disk that is full. */
static bool is_written(void) {
    bool has_failed = ferror(stdout);
    if (fflush(stdout) == 0 && !has_failed)
        return true;
    fputs("handoff: not all of it could be written to stdout.\n", stderr);
    return false;
}

int main(int argc, char **argv) {
    json_set_alloc_funcs(must_malloc, free);
    json_object_seed(0);
    int code = run(argc, argv);
    return is_written() || code ? code : 1;
}
