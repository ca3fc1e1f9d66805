/* The command line of `handoff dead-letters`. */
#include "cli/dead_letters_arguments.h"

#include <string.h>

#include "cli/arguments.h"
#include "cli/dead_letters.h"
#include "cli/letter.h"
#include "proto/route.h"

const char dead_letters_usage[] =
    "handoff dead-letters list [--queue QUEUE] [--json]\n"
    "handoff dead-letters show ID\n"
    "handoff dead-letters replay ID | --all [--queue QUEUE]\n"
    "handoff dead-letters drop ID | --all [--queue QUEUE] --yes\n"
    "\n"
    "  list    a line for each dead letter; --json: an object on each line\n"
    "  show    its headers and its body\n"
    "  replay  puts it back into the queue that it came from, and then takes it away here\n"
    "  drop    takes it away for good\n"
    "\n"
    "  ID      as list shows it\n"
    "  QUEUE   audit_writer.dead or state_engine.dead; both unless it is given\n";

static const char *const verbs[N_VERBS] = {
    [VERB_LIST] = "list", [VERB_SHOW] = "show", [VERB_REPLAY] = "replay", [VERB_DROP] = "drop"};

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
static const char *check(const struct dead_letters_arguments *a) {
    bool acts = a->verb == VERB_REPLAY || a->verb == VERB_DROP;
    if (a->json && a->verb != VERB_LIST)
        return "--json goes with list.";
    if (a->yes && a->verb != VERB_DROP)
        return "--yes goes with drop.";
    if (a->all && (!acts || a->id))
        return "--all goes with replay and drop, instead of an ID.";
    if (a->verb == VERB_LIST && a->id)
        return "list takes no ID; show does.";
    if (a->verb != VERB_LIST && !a->id && !a->all)
        return acts ? "Which one? Give its ID, or --all." : "Which one? Give its ID.";
    if (a->verb == VERB_DROP && !a->yes)
        return "drop takes letters away for good: add --yes to mean it.";
    return NULL;
}

/* argv's words: the verb, and perhaps an ID. */
static const char *take_words(char **words, size_t n, struct dead_letters_arguments *a) {
    size_t verb = n ? arguments_find(words[0], verbs, N_VERBS) : N_VERBS;
    if (verb == N_VERBS)
        return "dead-letters knows list, show, replay and drop.";
    if (n > 2)
        return "One ID at a time, or --all.";
    a->verb = (enum verb)verb;
    a->id = n == 2 ? words[1] : NULL;
    const char *mistake = check_queue(a->queue);
    if (!mistake)
        mistake = check_id(a->id);
    return mistake ? mistake : check(a);
}

int dead_letters_run(int argc, char **argv) {
    struct dead_letters_arguments a = {0};
    struct config config = {0};
    size_t n = 0;
    const struct argument options[] = {{"--queue", NULL, &a.queue},
                                       {"--all", &a.all, NULL},
                                       {"--json", &a.json, NULL},
                                       {"--yes", &a.yes, NULL}};
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    const char *mistake = take_words(argv + 1, n, &a);
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    if (!arguments_load_config(CONFIG_CLI, &config))
        return 2;
    int code = dead_letters_act(&a, &config);
    config_done(&config);
    return code;
}
