/* What is done with them, order by order; see rolling.h. */
#include "tests/bench/rolling.h"

#include <stdio.h>
#include <string.h>

#include "tests/bench/orders.h"
#include "tests/bench/samples.h"

#define SECOND_NS 1000000000u
#define TURN_NS 5000000u
#define CONNECTS_A_TURN 64 /* so that what arrives is read between them */
#define PATIENCE_NS 60000000000u

static const char *token_of(const struct rolling *r, size_t member) {
    return json_string_value(json_array_get(r->tokens, member));
}

static void take_ports(const json_t *list, uint16_t *ret, size_t *ret_n) {
    *ret_n = json_array_size(list);
    if (*ret_n < 1 || *ret_n > ROLLING_MAX_PORTS)
        die("a set-up without ports, or with too many");
    for (size_t i = 0; i < *ret_n; i++)
        ret[i] = (uint16_t)json_integer_value(json_array_get(list, i));
}

/* ---- requests ---- */

static void on_answered(struct writer *w, struct http_client *c, int status) {
    struct rolling *r = w->arg;
    r->counts.writes++;
    if (status == 200 || status == 201) {
        r->sessions[c->tag].n_accepted++;
    } else if (status >= 500) {
        r->counts.writes_5xx++;
        fprintf(stderr, "load: answered with %.600s\n", c->in.data);
    } else {
        die("a change was answered with %d: %.300s", status, c->in.data);
    }
}

void rolling_init(struct rolling *r, json_t *setup) {
    size_t n_api;
    r->tokens = json_incref(json_object_get(setup, "tokens"));
    take_ports(json_object_get(setup, "wsPorts"), r->ws_ports, &r->n_ports);
    take_ports(json_object_get(setup, "apiPorts"), r->api_ports, &n_api);
    if (n_api != r->n_ports)
        die("as many ports for REST as for WebSockets are needed");
}

/* Only while they have something to send: a proxy ends connections that nothing comes by. */
static void open_writers(struct rolling *r) {
    for (size_t i = 0; i < r->n_ports; i++) {
        writer_open(&r->writers[i], &r->sockets, r->api_ports[i], ROLLING_N_WRITERS);
        r->writers[i].answered = on_answered;
        r->writers[i].arg = r;
        writer_come_back(&r->writers[i]);
    }
}

static void close_writers(struct rolling *r) {
    r->n_cut_before = 0;
    for (size_t i = 0; i < r->n_ports; i++)
        if (r->writers[i].clients)
            writer_close(&r->writers[i]);
}

void rolling_done(struct rolling *r) {
    for (size_t i = 0; i < r->n_members; i++)
        member_done(&r->members[i]);
    close_writers(r);
    json_decref(r->tokens);
    free(r->members);
    free(r->sessions);
}

/* All that are under way are answered. */
static void settle(struct rolling *r, const char *doing) {
    uint64_t end = now_ns() + PATIENCE_NS;
    for (size_t i = 0; i < r->n_ports; i++)
        while (r->writers[i].n_answered < r->writers[i].n_sent) {
            if (now_ns() > end)
                die("%s: no answer for 60 s", doing);
            sockets_wait(&r->sockets, rolling_turn(r));
        }
}

static void on_created(struct writer *w, struct http_client *c, int status) {
    static const char name[] = "\"id\":\"";
    struct rolling *r = w->arg;
    const char *at = strstr(c->in.data, name);
    if (status != 201 || !at)
        die("a create was answered with %d: %.300s", status, c->in.data);
    snprintf(r->sessions[c->tag].id, sizeof(r->sessions[c->tag].id), "%.36s", at + strlen(name));
}

static void on_read(struct writer *w, struct http_client *c, int status) {
    static const char name[] = "\"version\":";
    struct rolling *r = w->arg;
    const char *at = strstr(c->in.data, name);
    if (status != 200 || !at)
        die("a read was answered with %d: %.300s", status, c->in.data);
    r->sessions[c->tag].version = strtoull(at + strlen(name), NULL, 10);
}

/* One request for each session, by the first writer. */
static void for_each_session(struct rolling *r, const char *data,
                             void (*answered)(struct writer *w, struct http_client *c,
                                              int status)) {
    struct writer *w = &r->writers[0];
    w->answered = answered;
    for (size_t i = 0; i < r->n_sessions; i++) {
        while (!w->n_idle)
            sockets_wait(&r->sockets, rolling_turn(r));
        w->idle[w->n_idle - 1]->tag = i;
        if (data)
            writer_create(w, token_of(r, i), data, NULL, i);
        else
            writer_get(w, r->sessions[i].id, token_of(r, i));
    }
    settle(r, "asking about each session");
    w->answered = on_answered;
}

static json_t *create(struct rolling *r, const json_t *what) {
    r->n_sessions = (size_t)order_number(what, "sessions", 1);
    r->sessions = must_alloc(r->n_sessions * sizeof(*r->sessions));
    open_writers(r);
    for_each_session(r, order_text(what, "data", "{\"progress\":0}"), on_created);
    close_writers(r);
    return json_pack("{sI}", "sessions", (json_int_t)r->n_sessions);
}

static json_t *check(struct rolling *r) {
    settle(r, "writing");
    for_each_session(r, NULL, on_read);
    uint64_t n_behind = 0, n_accepted = 0, n_versions = 0;
    for (size_t i = 0; i < r->n_members; i++)
        n_behind += r->members[i].state != MEMBER_THERE ||
                    r->members[i].version != r->sessions[r->members[i].session].version;
    for (size_t i = 0; i < r->n_sessions; i++) {
        n_accepted += r->sessions[i].n_accepted;
        n_versions += r->sessions[i].version - 1;
    }
    return json_pack("{sI sI sI}", "behind", (json_int_t)n_behind, "accepted",
                     (json_int_t)n_accepted, "versions", (json_int_t)n_versions);
}

/* ---- members and writes ---- */

static json_t *join(struct rolling *r, const json_t *what) {
    r->n_members = (size_t)order_number(what, "members", 1);
    if (r->n_members > json_array_size(r->tokens))
        die("more members than tokens");
    r->members = must_alloc(r->n_members * sizeof(*r->members));
    for (size_t i = 0; i < r->n_members; i++)
        r->members[i] = (struct member){.rolling = r, .session = i % r->n_sessions};
    return json_pack("{sI}", "members", (json_int_t)r->n_members);
}

static json_t *set_rate(struct rolling *r, const json_t *what) {
    double rate = order_number(what, "rate", 0);
    r->interval_ns = rate > 0 ? (uint64_t)((double)SECOND_NS / rate) : 0;
    r->next_ns = now_ns();
    if (rate > 0 && !r->writers[0].clients)
        open_writers(r);
    return json_pack("{sf}", "rate", rate);
}

/* Each connection has its turn: a proxy ends those that nothing comes by. */
static void take_longest_idle(struct writer *w) {
    struct http_client *longest = w->idle[0];
    memmove(w->idle, w->idle + 1, (w->n_idle - 1) * sizeof(w->idle[0]));
    w->idle[w->n_idle - 1] = longest;
}

static void write_what_is_due(struct rolling *r, uint64_t now) {
    while (r->interval_ns && r->next_ns <= now) {
        struct writer *w = &r->writers[r->n_due % r->n_ports];
        size_t session = r->n_due % r->n_sessions;
        if (!w->n_idle)
            return; /* all wait for an answer: later */
        take_longest_idle(w);
        w->idle[w->n_idle - 1]->tag = session;
        writer_patch(w, r->sessions[session].id, token_of(r, session), r->next_ns);
        r->n_due++;
        r->next_ns += r->interval_ns;
    }
}

uint64_t rolling_turn(struct rolling *r) {
    uint64_t now = now_ns(), n_before = 0;
    for (size_t i = 0; i < r->n_members && n_before < CONNECTS_A_TURN; i++) {
        bool was_away = r->members[i].state == MEMBER_AWAY;
        member_look(&r->members[i], now);
        n_before += was_away && r->members[i].state != MEMBER_AWAY;
    }
    write_what_is_due(r, now);
    return now + TURN_NS;
}

/* ---- what came of it ---- */

static json_t *print_returns(const struct rolling_counts *counts) {
    json_t *list = json_array();
    size_t n = ROLLING_SECONDS;
    while (n && !counts->returns[n - 1])
        n--;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(counts->returns[i]));
    return list;
}

static json_t *mark(struct rolling *r) {
    const struct rolling_counts *c = &r->counts;
    bool came_back = c->first_close_ns && c->last_there_ns > c->first_close_ns;
    uint64_t n_again = 0;
    for (size_t i = 0; i < r->n_ports; i++)
        n_again += writer_n_comebacks(&r->writers[i]);
    json_t *result = json_pack(
        "{sI sI sI sI sI sI sI sI sI sI sI sI so sf}", "there", (json_int_t)r->n_there, "members",
        (json_int_t)r->n_members, "closed1001", (json_int_t)c->closes_1001, "closedOther",
        (json_int_t)c->closes_other, "cut", (json_int_t)c->cuts, "refused",
        (json_int_t)c->upgrades_refused + (json_int_t)c->errors, "stateSyncs", (json_int_t)c->syncs,
        "missing", (json_int_t)c->missing, "deliveries", (json_int_t)c->deliveries, "writes",
        (json_int_t)c->writes, "writes5xx", (json_int_t)c->writes_5xx, "writersCut",
        (json_int_t)(n_again - r->n_cut_before), "returns", print_returns(c), "wholeAfter",
        came_back ? (double)(c->last_there_ns - c->first_close_ns) / SECOND_NS : 0.0);
    r->counts = (struct rolling_counts){0};
    r->n_cut_before = n_again;
    return result;
}

json_t *rolling_run(struct rolling *r, const json_t *what) {
    const char *name = order_text(what, "do", "");
    if (strcmp(name, "create") == 0)
        return create(r, what);
    if (strcmp(name, "join") == 0)
        return join(r, what);
    if (strcmp(name, "write") == 0)
        return set_rate(r, what);
    if (strcmp(name, "there") == 0)
        return json_pack("{sI}", "there", (json_int_t)r->n_there);
    if (strcmp(name, "mark") == 0)
        return mark(r);
    if (strcmp(name, "check") == 0)
        return check(r);
    die("an order that nobody knows: %s", name);
}
