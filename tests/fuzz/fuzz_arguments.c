/* The command line of `handoff`, a word a line. What is taken is whole: what a verb needs is there,
 * and what would destroy was meant. */
#include "base/uuid.h"
#include "cli/arguments.h"
#include "fuzz_json.h"
#include "proto/route.h"

#define MAX_WORDS 80

static void check_letters(const struct arguments *a) {
    bool acts = a->verb == VERB_REPLAY || a->verb == VERB_DROP;
    must_hold(!a->id || (strlen(a->id) == 12 && strspn(a->id, "0123456789abcdef") == 12));
    must_hold(!a->queue || strcmp(a->queue, ROUTE_AUDIT_DEAD_QUEUE) == 0 ||
              strcmp(a->queue, ROUTE_COMMANDS_DEAD_QUEUE) == 0);
    must_hold(!a->all || (acts && !a->id));
    must_hold(a->verb != VERB_DROP || a->yes);
    must_hold(!(acts || a->verb == VERB_SHOW) || a->id || a->all);
}

static void check_tail(const struct arguments *a, int n) {
    must_hold(a->url && a->token_file && a->n_sessions >= 1 && a->n_sessions <= 64);
    must_hold(a->n_sessions <= (size_t)n && (!a->has_since || a->n_sessions == 1));
    must_hold(!a->has_since || (a->since_epoch >= 1 && a->since_version >= 0));
    for (size_t i = 0; i < a->n_sessions; i++) {
        must_hold(uuid_is(a->sessions[i], strlen(a->sessions[i])));
        for (size_t k = 0; k < i; k++)
            must_hold(strcmp(a->sessions[i], a->sessions[k]) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *at = text, name[] = "handoff";
    char *argv[MAX_WORDS + 2] = {name};
    int argc = 1;
    struct arguments a;
    while (at && *at && argc <= MAX_WORDS)
        argv[argc++] = strsep(&at, "\n");
    const char *mistake = arguments_parse(argc, argv, &a);
    if (mistake)
        must_hold(mistake[0] && mistake[strlen(mistake) - 1] != '\n');
    else if (a.verb == VERB_TAIL)
        check_tail(&a, argc);
    else if (a.verb != VERB_HELP && a.verb != VERB_VERSION)
        check_letters(&a);
    free(text);
    return 0;
}
