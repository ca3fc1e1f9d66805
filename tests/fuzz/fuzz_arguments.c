/* The command line of `handoff tail` and `handoff dead-letters`, a word a line. What is taken is
 * whole: what a verb needs is there, and what would destroy was meant. */
#include <stdio.h>

#include "base/uuid.h"
#include "fuzz_json.h"
#include "proto/route.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/dead_letters.h"
#include "tools/handoff/dead_letters_arguments.h"
#include "tools/handoff/tail.h"
#include "tools/handoff/tail_arguments.h"

#define MAX_WORDS 80
#define WEEK_S 604800

static size_t n_words;

/* In the place of those that act. */
int dead_letters_act(const struct dead_letters_arguments *a, const struct config *config) {
    bool acts = a->verb == VERB_REPLAY || a->verb == VERB_DROP;
    must_hold(config->amqp_url && a->verb < N_VERBS);
    must_hold(!a->id || (strlen(a->id) == 12 && strspn(a->id, "0123456789abcdef") == 12));
    must_hold(!a->queue || strcmp(a->queue, ROUTE_AUDIT_DEAD_QUEUE) == 0 ||
              strcmp(a->queue, ROUTE_COMMANDS_DEAD_QUEUE) == 0);
    must_hold(!a->all || (acts && !a->id));
    must_hold(a->verb != VERB_DROP || a->yes);
    must_hold(!(acts || a->verb == VERB_SHOW) || a->id || a->all);
    return 0;
}

int tail_follow(const struct tail_arguments *a) {
    must_hold(a->url && a->token_file && a->n_words >= 1 && a->n_words <= 64);
    must_hold(a->n_words <= n_words && (!a->has_since || a->n_words == 1));
    must_hold(!a->has_since || (a->since_epoch >= 1 && a->since_version >= 0));
    for (size_t i = 0; i < a->n_words; i++) {
        must_hold(uuid_is(a->words[i], strlen(a->words[i])));
        for (size_t k = 0; k < i; k++)
            must_hold(strcmp(a->words[i], a->words[k]) != 0);
    }
    return 0;
}

int tail_hear(const struct tail_arguments *a) {
    must_hold(!a->url && !a->token_file && !a->has_since && a->n_words >= 1 && a->n_words <= 64);
    must_hold(a->buffer >= 0 && a->buffer <= 1000000);
    must_hold(!a->queue_prefix || *a->queue_prefix);
    for (size_t i = 0; i < a->n_words; i++)
        must_hold(strlen(a->words[i]) <= 255 && strncmp(a->words[i], "session.", 8) == 0);
    return 0;
}

/* Every kind of option. What is left are the words, in their order, and no option's place has what
 * it may not. */
static int read_all(int argc, char **argv) {
    bool flag = false;
    const char *text = NULL;
    int64_t number = 7;
    size_t n = 0;
    const struct argument options[] = {{"--flag", .flag = &flag},
                                       {"--text", .text = &text},
                                       {"--number", .number = &number, .least = 2, .most = 30}};
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    must_hold(n < (size_t)argc && (!text || *text));
    must_hold(number >= 2 && number <= 30);
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    stderr = fopen("/dev/null", "w"); /* each mistake is told */
    return stderr ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *at = text;
    char *argv[MAX_WORDS + 1] = {0};
    int argc = 0;
    int64_t seconds;
    static const struct verb verbs[] = {{"read", read_all}};
    while (at && *at && argc < MAX_WORDS)
        argv[argc++] = strsep(&at, "\n");
    n_words = (size_t)argc;
    for (int i = 0; i < argc; i++)
        if (arguments_seconds(argv[i], WEEK_S, &seconds))
            must_hold(seconds >= 1 && seconds <= WEEK_S);
    if (argc && strcmp(argv[0], "tail") == 0)
        (void)tail_run(argc, argv);
    else if (argc && strcmp(argv[0], "dead-letters") == 0)
        (void)dead_letters_run(argc, argv);
    else if (argc)
        must_hold(arguments_run_verb(argc, argv, verbs, N_ELEMENTS(verbs)) >= 0);
    free(text);
    return 0;
}
