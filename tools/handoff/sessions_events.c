/* `handoff sessions events`: the audit trail as lines. */
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/sessions.h"
#include "tools/handoff/shown.h"
#include "tools/handoff/tail_line.h"
#include "tools/handoff/trail.h"

static void put_line(const struct trail_event *e, struct buf *out) {
    char moment[TIMESTAMP_LEN + 1];
    timestamp_print(e->moment, moment);
    const struct handoff_event event = {
        .type = e->type,
        .position = {(int64_t)e->position.epoch, (int64_t)e->position.version},
        .timestamp = moment,
        .device_id = e->device_id,
        .json = e->body,
    };
    tail_line(&event, out);
    buf_putc(out, '\n');
}

/* On one line, whatever white space stands in it. */
static void put_json(const struct trail_event *e, struct buf *out) {
    for (size_t i = 0; i < e->body_len; i++)
        buf_put(out, e->body[i] == '\n' || e->body[i] == '\r' ? " " : &e->body[i], 1);
    buf_putc(out, '\n');
}

static int print_all(struct trail *t, struct backends *b, bool json) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    do {
        if (trail_next(t, b))
            return 1;
        for (size_t i = 0; i < t->n; i++)
            (json ? put_json : put_line)(&t->events[i], &out);
        if (!shown_flush(&out))
            return 1;
    } while (t->n);
    return 0;
}

static int run(struct trail *t, const struct config *config, bool json) {
    struct db_session found = {0};
    struct backends b;
    int code = backends_open(&b, config, true, false) ? 2 : 0;
    if (!code)
        code = sessions_find(&b, t->session_id, &found);
    if (!code)
        code = print_all(t, &b, json);
    db_session_done(&found);
    trail_done(t);
    backends_done(&b);
    return code;
}

int sessions_events(int argc, char **argv) {
    struct trail t = {.to = TRAIL_LAST};
    const char *since = NULL;
    bool json = false;
    const struct argument options[] = {{"--since", .text = &since}, {"--json", .flag = &json}};
    size_t n = 0;
    struct config config = {0};
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    const char *mistake = sessions_check_id(argv + 1, n);
    if (!mistake && since && !trail_parse_position(since, &t.from))
        mistake = "--since takes a version, 42, or in a later epoch 42.2.";
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    if (since)
        t.from.version++;
    memcpy(t.session_id, argv[1], sizeof(t.session_id));
    if (!arguments_load_config(CONFIG_CLI, &config))
        return 2;
    int code = run(&t, &config, json);
    config_done(&config);
    return code;
}
