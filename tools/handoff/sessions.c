/* `handoff sessions`: its verbs, and what they share; see sessions.h. */
#include "tools/handoff/sessions.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/handoff/arguments.h"

const char sessions_usage[] =
    "handoff sessions list [--user ID] [--status STATUS]\n"
    "                      [--changed-since TIME] [--before ID]\n"
    "                      [--limit N] [--scan N] [--progress] [--json]\n"
    "handoff sessions show ID [--json]\n"
    "handoff sessions events ID [--since VERSION] [--json]\n"
    "handoff sessions replay ID [--from VERSION] [--to VERSION] [--yes]\n"
    "                        [--progress] [--json] --exchange EXCHANGE\n"
    "                        | --queue QUEUE\n"
    "\n"
    "  list    sessions, newest first; of one owner, of a status, changed since a\n"
    "          moment\n"
    "  show    one session: its row in PostgreSQL, its live state in Redis, who is\n"
    "          connected\n"
    "  events  its audit trail, oldest first: time, type, version, device, what\n"
    "          changed, separated by tabs; --json: the event as it was published\n"
    "  replay  publishes its audit trail again, in order, for a consumer that was\n"
    "          away too long\n"
    "\n"
    "  --user           the owner's id, a UUID, as show tells it\n"
    "  --status         pending, active, paused, completed, cancelled or expired\n"
    "  --changed-since  2026-02-12T12:00:00.000Z\n"
    "  --before         sessions that are older than that one: the next page\n"
    "  --limit          at most so many (50; up to 100000)\n"
    "  --scan           without --user all sessions are looked through for a status\n"
    "                   or a change: at most so many (1000000; a second or so), and\n"
    "                   where it stopped is told\n"
    "  --since          from the event after that version on: 42, or 42.2 in the\n"
    "                   second epoch\n"
    "  --from, --to     the first and the last version to replay; all of them unless\n"
    "                   they are given\n"
    "  --exchange       where to: a topic exchange gets them under their routing keys\n"
    "  --queue          where to: one queue\n"
    "  --yes            also to session_updates, where every consumer hears them\n"
    "                   again\n"
    "  --progress       on stderr, also where that is no terminal\n"
    "  --json           an object on each line\n"
    "\n"
    "Ends with 0 when all of it was done, 1 when not (there is no such session; a\n"
    "server is away), 2 for a mistake in the command or the configuration.\n";

const char *sessions_check_id(char *const *words, size_t n_words) {
    if (n_words != 1)
        return n_words ? "One session at a time." : "Which one? Give the id of a session.";
    return uuid_is(words[0], strlen(words[0])) ? NULL : "A session's id is a UUID in lower case.";
}

/* ---- one row ---- */

struct found {
    struct db_session *session;
    int err;
};

static void on_row(void *arg, const struct db_result *rows) {
    struct found *f = arg;
    f->err = db_session_read(rows, f->session);
}

int sessions_find(struct backends *b, const char *id, struct db_session *ret) {
    struct found f = {.session = ret};
    const char *params[] = {id};
    if (backends_query(b, db_session_sql, 1, params, on_row, &f))
        return 1;
    if (f.err == -ENOENT)
        fprintf(stderr, "handoff: there is no session %s.\n", id);
    else if (f.err)
        fprintf(stderr, "handoff: the row of session %s cannot be read: %s\n", id,
                strerror(-f.err));
    return f.err ? 1 : 0;
}

int sessions_run(int argc, char **argv) {
    static const struct verb verbs[] = {{"list", sessions_list},
                                        {"show", sessions_show},
                                        {"events", sessions_events},
                                        {"replay", sessions_replay}};
    return arguments_run_verb(argc, argv, verbs, N_ELEMENTS(verbs));
}
