/* The command line of `handoff tail` and `handoff dead-letters`, a word a line. What is taken is
 * whole: what a verb needs is there, and what would destroy was meant. */
#include <stdio.h>

#include "base/uuid.h"
#include "cli/arguments.h"
#include "cli/dead_letters.h"
#include "cli/dead_letters_arguments.h"
#include "cli/tail.h"
#include "cli/tail_arguments.h"
#include "cli/words.h"
#include "fuzz_json.h"
#include "proto/route.h"

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
    must_hold(a->url && a->token_file && a->n_sessions >= 1 && a->n_sessions <= 64);
    must_hold(a->n_sessions <= n_words && (!a->has_since || a->n_sessions == 1));
    must_hold(!a->has_since || (a->since_epoch >= 1 && a->since_version >= 0));
    for (size_t i = 0; i < a->n_sessions; i++) {
        must_hold(uuid_is(a->sessions[i], strlen(a->sessions[i])));
        for (size_t k = 0; k < i; k++)
            must_hold(strcmp(a->sessions[i], a->sessions[k]) != 0);
    }
    return 0;
}

/* As the commands read theirs that have options and words. */
static void check_words(int argc, char **argv) {
    bool json = false;
    const char *user = NULL;
    int64_t limit = 20;
    const struct words_option options[] = {{"--json", WORDS_FLAG, &json, 0, 0},
                                           {"--user", WORDS_TEXT, &user, 0, 0},
                                           {"--limit", WORDS_NUMBER, &limit, 1, 1000}};
    struct words w;
    bool is_fine = words_parse(&w, argc, argv, options, N_ELEMENTS(options));
    must_hold(is_fine == !w.mistake[0] && w.n <= WORDS_MAX);
    must_hold(limit >= 1 && limit <= 1000 && (!is_fine || !user || *user));
    for (size_t i = 0; i < w.n; i++)
        must_hold(w.items[i] != NULL);
    if (!is_fine)
        must_hold(words_refuse("sessions", w.mistake) == 2);
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
    else
        check_words(argc, argv);
    free(text);
    return 0;
}
