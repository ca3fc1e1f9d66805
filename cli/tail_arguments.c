/* The command line of `handoff tail`. */
#include "cli/tail_arguments.h"

#include <string.h>

#include "base/uuid.h"
#include "cli/arguments.h"
#include "cli/position.h"
#include "cli/tail.h"

#define MAX_SESSIONS 64 /* a connection carries no more */

const char tail_usage[] =
    "handoff tail --url URL --token-file FILE [--since POSITION] [--device ID] [--json]\n"
    "             [--ca-file FILE] SESSION...\n"
    "handoff tail PATTERN... [--json] [--buffer N] [--queue-prefix TEXT]\n"
    "\n"
    "  A line for each event of the sessions, as they come, until it is interrupted: time, type,\n"
    "  version, device, what changed, separated by tabs; before them the session, where there\n"
    "  are several. A lost connection is made again, and nothing is missed or shown twice; where\n"
    "  that cannot be, a line `state_sync` says why\n"
    "\n"
    "  --url   of ws_fanout: ws://localhost:8081, wss://handoff.example\n"
    "  --token-file  has the token, and is read again when one runs out\n"
    "  --since from the event after this version on (0: all that are kept); else from now on\n"
    "  --device  who listens, where the token does not say it by its claim device_id\n"
    "  --json  each event as it came, an object on each line\n"
    "  --ca-file  who may have signed the server's certificate (PEM)\n"
    "\n"
    "  With a pattern, by HANDOFF_AMQP_URL: a line for each event that the broker has from now "
    "on.\n"
    "\n"
    "  PATTERN   of AMQP's topic exchanges: session.<id>.<kind>, where * is any one word and a #\n"
    "            at its end all that follow: 'session.*.status', 'session.#'. Kinds: created,\n"
    "            update, status, clock, participants, devices, deleted, device_joined,\n"
    "            device_left, broadcast, snapshot, rebuilt, clock_warning\n"
    "  --buffer  events that wait for a slow reader (10000); the oldest go first, and it is told\n"
    "  --queue-prefix  how the own queue's name begins (consumer.): what the broker lets its user\n"
    "            make\n"
    "\n"
    "Ends with 0 when it was interrupted, and missed nothing; 1 when it missed something.\n";

static const char *parse_since(const char *text, struct tail_arguments *a) {
    struct position p;
    if (!position_parse(text, &p))
        return "--since takes a version, 42, or in a later epoch 42.2.";
    a->has_since = true;
    a->since_version = (int64_t)p.version;
    a->since_epoch = (int64_t)p.epoch;
    return NULL;
}

static const char *take_sessions(char **words, size_t n, struct tail_arguments *a) {
    if (n > MAX_SESSIONS)
        return "At most 64 sessions at a time.";
    for (size_t i = 0; i < n; i++) {
        if (!uuid_is(words[i], strlen(words[i])))
            return "A SESSION is its id: a UUID in lower case.";
        for (size_t before = 0; before < i; before++)
            if (strcmp(words[before], words[i]) == 0)
                return "A session is named once.";
    }
    a->sessions = words;
    a->n_sessions = n;
    return NULL;
}

static const char *check(const struct tail_arguments *a) {
    if (!a->url || !a->token_file)
        return "tail needs --url and --token-file.";
    if (!a->n_sessions)
        return "Which one? Give the id of a SESSION.";
    return a->has_since && a->n_sessions > 1 ? "--since goes with one session." : NULL;
}

int tail_run(int argc, char **argv) {
    struct tail_arguments a = {0};
    const char *since = NULL;
    size_t n = 0;
    const struct argument options[] = {
        {"--url", NULL, &a.url},       {"--token-file", NULL, &a.token_file},
        {"--device", NULL, &a.device}, {"--ca-file", NULL, &a.ca_file},
        {"--since", NULL, &since},     {"--json", &a.json, NULL},
    };
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    const char *mistake = since ? parse_since(since, &a) : NULL;
    if (!mistake)
        mistake = take_sessions(argv + 1, n, &a);
    if (!mistake)
        mistake = check(&a);
    return mistake ? arguments_mistake(argv[0], "%s", mistake) : tail_follow(&a);
}
