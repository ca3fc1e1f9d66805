/* The command line of `handoff tail`. */
#include "tools/handoff/tail_arguments.h"

#include <string.h>

#include "base/uuid.h"
#include "proto/event.h"
#include "proto/text.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/position.h"
#include "tools/handoff/tail.h"

#define MAX_SESSIONS 64 /* a connection carries no more */
#define MAX_PATTERNS 64
#define MAX_PATTERN 255
#define MAX_BUFFER 1000000

const char tail_usage[] =
    "handoff tail --url URL --token-file FILE [--since POSITION]\n"
    "             [--device ID] [--ca-file FILE] [--json] SESSION...\n"
    "handoff tail [--buffer N] [--queue-prefix TEXT] [--json] PATTERN...\n"
    "\n"
    "  A line for each event of the sessions, as they come, until it is interrupted:\n"
    "  time, type, version, device, what changed, separated by tabs; before them the\n"
    "  session, where there are several. A lost connection is made again, and\n"
    "  nothing is missed or shown twice; where that cannot be, a line `state_sync`\n"
    "  says why.\n"
    "\n"
    "  --url         of ws_fanout: ws://localhost:8081, wss://handoff.example\n"
    "  --token-file  has the token, and is read again when one runs out\n"
    "  --since       from the event after this version on (0: all that are kept);\n"
    "                else from now on\n"
    "  --device      who listens, where the token does not say it by its claim\n"
    "                device_id\n"
    "  --ca-file     who may have signed the server's certificate (PEM)\n"
    "  --json        each event as it came, an object on each line\n"
    "\n"
    "  With a PATTERN, by HANDOFF_AMQP_URL: a line for each event that the broker\n"
    "  has from now on, the session before it.\n"
    "\n"
    "  PATTERN         of AMQP's topic exchanges: session.<id>.<kind>, where * is\n"
    "                  any one word and a # at its end all that follow:\n"
    "                  'session.*.status', 'session.#'. Kinds: created, update,\n"
    "                  status, clock, participants, devices, deleted, device_joined,\n"
    "                  device_left, broadcast, snapshot, rebuilt, clock_warning\n"
    "  --buffer        events that wait for a slow reader (10000); the oldest go\n"
    "                  first, and it is told\n"
    "  --queue-prefix  how the own queue's name begins (consumer.): what the broker\n"
    "                  lets its user make\n"
    "\n"
    "Ends with 0 when it was interrupted, and missed nothing; 1 when it missed\n"
    "something; 2 for a mistake in the command or the configuration.\n";

/* ---- sessions ---- */

static const char *parse_since(const char *text, struct tail_arguments *a) {
    struct position p;
    if (!position_parse(text, &p))
        return "--since takes a version, 42, or in a later epoch 42.2.";
    a->has_since = true;
    a->since_version = (int64_t)p.version;
    a->since_epoch = (int64_t)p.epoch;
    return NULL;
}

static const char *check_ids(const struct tail_arguments *a) {
    if (a->n_words > MAX_SESSIONS)
        return "At most 64 sessions at a time.";
    for (size_t i = 0; i < a->n_words; i++) {
        if (!uuid_is(a->words[i], strlen(a->words[i])))
            return "With --url a SESSION is its id: a UUID in lower case.";
        for (size_t before = 0; before < i; before++)
            if (strcmp(a->words[before], a->words[i]) == 0)
                return "A session is named once.";
    }
    return NULL;
}

static const char *check_sessions(const struct tail_arguments *a) {
    if (!a->url || !a->token_file)
        return "--url and --token-file are needed, both, to follow a SESSION.";
    if (a->buffer || a->queue_prefix)
        return "--buffer and --queue-prefix go with a PATTERN, without --url.";
    if (!a->n_words)
        return "Which one? Give the id of a SESSION.";
    if (a->has_since && a->n_words > 1)
        return "--since goes with one session.";
    return check_ids(a);
}

/* ---- patterns ---- */

static bool is_wild(const char *text, size_t len) {
    return len == 1 && (*text == '*' || *text == '#');
}

static bool is_word(const char *text, size_t len) {
    if (is_wild(text, len))
        return true;
    for (size_t i = 0; i < len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_-", text[i]))
            return false;
    return len > 0;
}

static bool is_kind(const char *text) {
    for (int type = 0; type < EVENT_N_TYPES; type++)
        if (strcmp(text, event_kind((enum event_type)type)) == 0)
            return true;
    return is_wild(text, strlen(text));
}

/* What can never come is not waited for. */
const char *tail_check_pattern(const char *pattern) {
    size_t n = 0, len = strlen(pattern);
    const char *end = pattern + len;
    if (len > MAX_PATTERN)
        return "A pattern has at most 255 characters.";
    for (const char *word = pattern; word <= end; n++) {
        size_t word_len = strcspn(word, ".");
        if (n == 0 && (word_len != 7 || memcmp(word, "session", 7) != 0))
            return "A pattern begins with session: 'session.*.status', 'session.#'.";
        if (!is_word(word, word_len))
            return "A pattern's words have a-z 0-9 _ -, or are * or #, between dots.";
        if (n == 1 && !is_wild(word, word_len) && !uuid_is(word, word_len))
            return "A pattern's second word is a session's id, a UUID, or * or #.";
        word += word_len + 1;
    }
    if (!strchr(pattern, '#') && n != 3)
        return "A pattern has three words, session.<id>.<kind>, or a #.";
    if (!strchr(pattern, '#') && !is_kind(strrchr(pattern, '.') + 1))
        return "A pattern's third word is *, or one of: created update status clock participants "
               "devices deleted device_joined device_left broadcast snapshot rebuilt "
               "clock_warning.";
    return NULL;
}

static const char *check_patterns(const struct tail_arguments *a) {
    const char *mistake = NULL;
    if (a->has_since || a->device || a->ca_file)
        return "--since, --device and --ca-file go with --url, --token-file and a SESSION.";
    if (a->n_words > MAX_PATTERNS)
        return "At most 64 patterns at a time.";
    for (size_t i = 0; i < a->n_words && !mistake; i++)
        mistake = tail_check_pattern(a->words[i]);
    if (!mistake && a->queue_prefix && !text_is_printable(a->queue_prefix, strlen(a->queue_prefix)))
        mistake = "--queue-prefix takes printable characters.";
    return mistake;
}

/* ---- the command ---- */

static bool wants_patterns(const struct tail_arguments *a) {
    return !a->url && !a->token_file && a->n_words && strpbrk(a->words[0], ".*#");
}

static const char *check(const struct tail_arguments *a) {
    if (wants_patterns(a))
        return check_patterns(a);
    if (a->url || a->token_file)
        return check_sessions(a);
    return "Which events? Give a PATTERN, 'session.*.status'; or --url, --token-file and a "
           "SESSION.";
}

int tail_run(int argc, char **argv) {
    struct tail_arguments a = {0};
    const char *since = NULL;
    const struct argument options[] = {
        {"--url", .text = &a.url},
        {"--token-file", .text = &a.token_file},
        {"--device", .text = &a.device},
        {"--ca-file", .text = &a.ca_file},
        {"--since", .text = &since},
        {"--buffer", .number = &a.buffer, .least = 1, .most = MAX_BUFFER},
        {"--queue-prefix", .text = &a.queue_prefix},
        {"--json", .flag = &a.json},
    };
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &a.n_words))
        return 2;
    a.words = argv + 1;
    const char *mistake = since ? parse_since(since, &a) : NULL;
    if (!mistake)
        mistake = check(&a);
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    return wants_patterns(&a) ? tail_hear(&a) : tail_follow(&a);
}
