/* The command line of `handoff dead-letters`. */
#include "tools/handoff/dead_letters_arguments.h"

#include <string.h>

#include "proto/route.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/dead_letters.h"
#include "tools/handoff/letter.h"

const char dead_letters_usage[] =
    "handoff dead-letters list [--queue QUEUE] [--json]\n"
    "handoff dead-letters show ID [--json]\n"
    "handoff dead-letters replay ID | --all [--queue QUEUE] [--progress]\n"
    "                            [--json]\n"
    "handoff dead-letters drop ID | --all --yes [--queue QUEUE] [--progress]\n"
    "                          [--json]\n"
    "\n"
    "  list    a line for each dead letter\n"
    "  show    its headers and its body\n"
    "  replay  puts it back into the queue that it came from, and then takes it\n"
    "          away here\n"
    "  drop    takes it away for good; --yes says that it is meant\n"
    "\n"
    "  ID          as list shows it; --all: every one\n"
    "  --queue     audit_writer.dead or state_engine.dead; both unless it is given\n"
    "  --progress  of --all on stderr, also where that is no terminal\n"
    "  --json      an object on each line: a letter, or how many of a queue it were;\n"
    "              of show with body, or bodyBase64url where that is no text\n"
    "\n"
    "Ends with 0 when all of it was done, 1 when not (what was not confirmed is\n"
    "still there), 2 for a mistake in the command or the configuration.\n";

static const char *check_queue(const char *name) {
    if (name && strcmp(name, ROUTE_AUDIT_DEAD_QUEUE) != 0 &&
        strcmp(name, ROUTE_COMMANDS_DEAD_QUEUE) != 0)
        return "--queue takes " ROUTE_AUDIT_DEAD_QUEUE " or " ROUTE_COMMANDS_DEAD_QUEUE ".";
    return NULL;
}

static const char *check_id(const char *id) {
    size_t len = id ? strlen(id) : LETTER_ID_LEN;
    if (len != LETTER_ID_LEN || (id && strspn(id, "0123456789abcdef") != len))
        return "An ID has 12 characters of 0-9 and a-f, as list shows it.";
    return NULL;
}

/* NULL, or what is wrong with it. */
static const char *check(const struct dead_letters_arguments *a, size_t n_words) {
    bool acts = a->verb == VERB_REPLAY || a->verb == VERB_DROP;
    if (a->verb == VERB_LIST)
        return n_words ? "list takes no ID; show does." : check_queue(a->queue);
    if (n_words > 1)
        return acts ? "One ID at a time, or --all." : "One ID at a time.";
    if (a->all && a->id)
        return "--all stands instead of an ID.";
    if (!a->id && !a->all)
        return acts ? "Which one? Give its ID, or --all." : "Which one? Give its ID.";
    if (a->verb == VERB_DROP && !a->yes)
        return "drop takes letters away for good: add --yes to mean it.";
    const char *mistake = check_queue(a->queue);
    return mistake ? mistake : check_id(a->id);
}

static int run(struct dead_letters_arguments *a, int argc, char **argv,
               const struct argument *options, size_t n_options) {
    struct config config = {0};
    size_t n = 0;
    if (!arguments_read(argc, argv, options, n_options, &n))
        return 2;
    a->id = n ? argv[1] : NULL;
    const char *mistake = check(a, n);
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    if (!arguments_load_config(CONFIG_CLI, &config))
        return 2;
    int code = dead_letters_act(a, &config);
    config_done(&config);
    return code;
}

static int run_list(int argc, char **argv) {
    struct dead_letters_arguments a = {.verb = VERB_LIST};
    const struct argument options[] = {{"--queue", .text = &a.queue}, {"--json", .flag = &a.json}};
    return run(&a, argc, argv, options, N_ELEMENTS(options));
}

static int run_show(int argc, char **argv) {
    struct dead_letters_arguments a = {.verb = VERB_SHOW};
    const struct argument options[] = {{"--json", .flag = &a.json}};
    return run(&a, argc, argv, options, N_ELEMENTS(options));
}

static int run_replay(int argc, char **argv) {
    struct dead_letters_arguments a = {.verb = VERB_REPLAY};
    const struct argument options[] = {{"--queue", .text = &a.queue},
                                       {"--all", .flag = &a.all},
                                       {"--progress", .flag = &a.wants_progress},
                                       {"--json", .flag = &a.json}};
    return run(&a, argc, argv, options, N_ELEMENTS(options));
}

static int run_drop(int argc, char **argv) {
    struct dead_letters_arguments a = {.verb = VERB_DROP};
    const struct argument options[] = {{"--queue", .text = &a.queue},
                                       {"--all", .flag = &a.all},
                                       {"--yes", .flag = &a.yes},
                                       {"--progress", .flag = &a.wants_progress},
                                       {"--json", .flag = &a.json}};
    return run(&a, argc, argv, options, N_ELEMENTS(options));
}

int dead_letters_run(int argc, char **argv) {
    static const struct verb verbs[] = {
        {"list", run_list}, {"show", run_show}, {"replay", run_replay}, {"drop", run_drop}};
    return arguments_run_verb(argc, argv, verbs, N_ELEMENTS(verbs));
}
