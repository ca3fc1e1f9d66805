/* The command line; see arguments.h. */
#include "cli/arguments.h"

#include <string.h>

#include "base/uuid.h"
#include "cli/letter.h"
#include "proto/route.h"
#include "proto/text.h"

static bool is(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}

static const char *parse_verb(const char *name, enum verb *ret) {
    static const struct {
        const char *name;
        enum verb verb;
    } verbs[] = {{"list", VERB_LIST}, {"show", VERB_SHOW},   {"replay", VERB_REPLAY},
                 {"drop", VERB_DROP}, {"--help", VERB_HELP}, {"-h", VERB_HELP}};
    for (size_t i = 0; i < N_ELEMENTS(verbs); i++)
        if (is(name, verbs[i].name)) {
            *ret = verbs[i].verb;
            return NULL;
        }
    return "dead-letters knows list, show, replay and drop.";
}

static const char *parse_queue(const char *name, struct arguments *a) {
    if (!name || (!is(name, ROUTE_AUDIT_DEAD_QUEUE) && !is(name, ROUTE_COMMANDS_DEAD_QUEUE)))
        return "--queue takes " ROUTE_AUDIT_DEAD_QUEUE " or " ROUTE_COMMANDS_DEAD_QUEUE ".";
    a->queue = name;
    return NULL;
}

static const char *parse_id(const char *text, struct arguments *a) {
    size_t len = strlen(text);
    if (a->id)
        return "One ID at a time, or --all.";
    if (len != LETTER_ID_LEN || strspn(text, "0123456789abcdef") != len)
        return "An ID has 12 characters of 0-9 and a-f, as list shows it.";
    a->id = text;
    return NULL;
}

static const char *parse_rest(int n, char **rest, struct arguments *a) {
    const char *mistake = NULL;
    for (int i = 0; i < n && !mistake; i++) {
        if (is(rest[i], "--queue"))
            mistake = parse_queue(i + 1 < n ? rest[i + 1] : NULL, a), i++;
        else if (is(rest[i], "--all"))
            a->all = true;
        else if (is(rest[i], "--json"))
            a->json = true;
        else if (is(rest[i], "--yes"))
            a->yes = true;
        else if (is(rest[i], "--help"))
            a->verb = VERB_HELP;
        else
            mistake = rest[i][0] == '-' ? "There is no such option." : parse_id(rest[i], a);
    }
    return mistake;
}

static const char *check(const struct arguments *a) {
    bool acts = a->verb == VERB_REPLAY || a->verb == VERB_DROP;
    if (a->verb == VERB_HELP)
        return NULL;
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

/* ---- tail ---- */

#define MAX_SESSIONS 64 /* a connection carries no more */

/* As an ETag's tag: 42, or 42.2 in the second epoch; quotes may stand around it. */
static const char *parse_since(const char *text, struct arguments *a) {
    static const char mistake[] = "--since takes a version, 42, or in a later epoch 42.2.";
    uint64_t version = 0, epoch = 1;
    size_t len = strlen(text);
    if (len >= 2 && text[0] == '"' && text[len - 1] == '"')
        text++, len -= 2;
    const char *dot = memchr(text, '.', len);
    size_t version_len = dot ? (size_t)(dot - text) : len;
    if (!text_parse_number(text, version_len, &version) ||
        (dot && (!text_parse_number(dot + 1, len - version_len - 1, &epoch) || epoch < 2)))
        return mistake;
    a->has_since = true;
    a->since_version = (int64_t)version;
    a->since_epoch = (int64_t)epoch;
    return NULL;
}

static const char *parse_session(char *text, struct arguments *a) {
    if (text[0] == '-')
        return "There is no such option.";
    if (!uuid_is(text, strlen(text)))
        return "A SESSION is its id: a UUID in lower case.";
    if (a->n_sessions == MAX_SESSIONS)
        return "At most 64 sessions at a time.";
    for (size_t i = 0; i < a->n_sessions; i++)
        if (is(a->sessions[i], text))
            return "A session is named once.";
    a->sessions[a->n_sessions++] = text;
    return NULL;
}

static const char **value_of(const char *option, struct arguments *a) {
    return is(option, "--url")          ? &a->url
           : is(option, "--token-file") ? &a->token_file
           : is(option, "--device")     ? &a->device
           : is(option, "--ca-file")    ? &a->ca_file
                                        : NULL;
}

static const char *parse_tail(int n, char **rest, struct arguments *a) {
    const char *mistake = NULL;
    a->verb = VERB_TAIL;
    a->sessions = rest;
    for (int i = 0; i < n && !mistake && a->verb == VERB_TAIL; i++) {
        const char **value = value_of(rest[i], a);
        bool takes_value = value || is(rest[i], "--since");
        if (takes_value && i + 1 == n)
            mistake = "That option takes a value.";
        else if (value)
            *value = rest[++i];
        else if (takes_value)
            mistake = parse_since(rest[++i], a);
        else if (is(rest[i], "--json"))
            a->json = true;
        else if (is(rest[i], "--help"))
            a->verb = VERB_HELP;
        else
            mistake = parse_session(rest[i], a);
    }
    if (mistake || a->verb == VERB_HELP)
        return mistake;
    if (!a->url || !a->token_file)
        return "tail needs --url and --token-file.";
    if (!a->n_sessions)
        return "Which one? Give the id of a SESSION.";
    return a->has_since && a->n_sessions > 1 ? "--since goes with one session." : NULL;
}

const char *arguments_parse(int argc, char **argv, struct arguments *ret) {
    *ret = (struct arguments){.verb = VERB_HELP};
    if (argc < 2)
        return "What is to be done?";
    if (is(argv[1], "--help") || is(argv[1], "-h") || is(argv[1], "help"))
        return NULL;
    if (is(argv[1], "--version")) {
        ret->verb = VERB_VERSION;
        return NULL;
    }
    if (is(argv[1], "tail"))
        return parse_tail(argc - 2, argv + 2, ret);
    if (!is(argv[1], "dead-letters"))
        return "It knows dead-letters, tail, --help and --version.";
    if (argc < 3)
        return "dead-letters knows list, show, replay and drop.";
    const char *mistake = parse_verb(argv[2], &ret->verb);
    if (!mistake)
        mistake = parse_rest(argc - 3, argv + 3, ret);
    return mistake ? mistake : check(ret);
}
