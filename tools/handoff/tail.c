/* Following sessions by the client for C; see tail_arguments.h. */
#include "tools/handoff/tail_arguments.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "clients/c/handoff.h"
#include "tools/handoff/tail_line.h"

#define MAX_TOKEN_BYTES 8192 /* what the services take */
#define TURN_MS 500          /* how soon a signal is heard that comes between two turns */

struct tail {
    const struct tail_arguments *arguments;
    size_t n_left; /* sessions that are followed */
    bool is_over;
    bool has_missed; /* a session, or events of one */
};

static volatile sig_atomic_t was_interrupted;

static void interrupt(int signum) {
    (void)signum;
    was_interrupted = 1;
}

static void hear_signals(void) {
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- the token ---- */

static ssize_t read_file(const char *path, char *ret, size_t cap) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = fd < 0 ? -1 : 0;
    while (fd >= 0 && len < cap && (n = read(fd, ret + len, cap - len)) > 0)
        len += (size_t)n;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return n < 0 ? -1 : (ssize_t)len;
}

/* The file's first word. */
static void give_token(struct handoff *h, void *user) {
    const struct tail *t = user;
    char token[MAX_TOKEN_BYTES + 2], reason[256];
    ssize_t len = read_file(t->arguments->token_file, token, sizeof(token) - 1);
    if (len < 0) {
        snprintf(reason, sizeof(reason), "%s: %s", t->arguments->token_file, strerror(errno));
        handoff_no_token(h, reason);
        return;
    }
    token[len] = '\0';
    char *begin = token + strspn(token, " \t\r\n");
    begin[strcspn(begin, " \t\r\n")] = '\0';
    handoff_set_token(h, begin);
    explicit_bzero(token, sizeof(token));
}

/* ---- what is told ---- */

static void on_state(struct handoff *h, void *user, enum handoff_state state,
                     const struct handoff_error *why) {
    struct tail *t = user;
    (void)h;
    if (state == HANDOFF_WAITING)
        fprintf(stderr, "handoff: no connection (%s); it is tried again\n", why->reason);
    if (state != HANDOFF_STOPPED)
        return;
    fprintf(stderr, "handoff: %s: %s\n", why->code, why->reason);
    t->is_over = t->has_missed = true;
}

static void on_lost(struct handoff_session *s, void *user, const struct handoff_error *error) {
    struct tail *t = user;
    fprintf(stderr, "handoff: session %s: %s: %s\n", handoff_session_id(s), error->code,
            error->reason);
    t->has_missed = true;
    t->is_over = --t->n_left == 0;
}

/* On one line, whatever white space stands in it. */
static void put_json(struct buf *out, const char *json) {
    for (; *json; json++)
        buf_put(out, *json == '\n' || *json == '\r' ? " " : json, 1);
}

/* Who asked for no position hears where the session is, and has missed nothing by that. */
static void on_event(struct handoff_session *s, void *user, const struct handoff_event *event) {
    struct tail *t = user;
    _cleanup_(buf_done) struct buf line = BUF_NULL;
    bool is_sync = strcmp(event->type, "state_sync") == 0;
    if (is_sync && (t->arguments->has_since || handoff_session_position(s).epoch))
        t->has_missed = true;
    if (t->arguments->json) {
        put_json(&line, event->json);
    } else {
        if (t->arguments->n_words > 1)
            buf_printf(&line, "%s\t", handoff_session_id(s));
        tail_line(event, &line);
    }
    buf_putc(&line, '\n');
    if (fwrite(line.data, 1, line.len, stdout) != line.len || fflush(stdout) == EOF)
        t->is_over = true; /* who read it has gone */
}

/* ---- the whole ---- */

static int refuse(const struct handoff_error *error) {
    fprintf(stderr, "handoff: %s\n", error->reason);
    return 2;
}

static int follow_all(struct tail *t, struct handoff *h) {
    const struct tail_arguments *a = t->arguments;
    const struct handoff_position since = {a->since_epoch, a->since_version};
    const struct handoff_events events = {
        .size = sizeof(events), .lost = on_lost, .event = on_event};
    struct handoff_error error;
    for (size_t i = 0; i < a->n_words; i++) {
        if (!handoff_follow(h, a->words[i], a->has_since ? &since : NULL, &events, t, &error))
            return refuse(&error);
        t->n_left++;
    }
    while (!t->is_over && !was_interrupted)
        if (handoff_run(h, TURN_MS) != 0)
            t->has_missed = t->is_over = true;
    return t->has_missed ? 1 : 0;
}

int tail_follow(const struct tail_arguments *a) {
    struct tail t = {.arguments = a};
    struct handoff_error error;
    const struct handoff_options options = {.size = sizeof(options),
                                            .url = a->url,
                                            .device_id = a->device,
                                            .device_platform = "handoff tail",
                                            .ca_file = a->ca_file,
                                            .token = give_token,
                                            .state = on_state,
                                            .user = &t};
    struct handoff *h = handoff_new(&options, &error);
    if (!h)
        return refuse(&error);
    hear_signals();
    int code = follow_all(&t, h);
    handoff_free(h);
    return code;
}
