/* Commands without an answer; see unsent.h. An answer is given when its command is out of the list:
 * what it calls in turn finds everything in order. */
#include "clients/c/src/unsent.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "clients/c/src/problem.h"
#include "proto/text.h"

void unsent_init(struct unsent *u, const struct unsent_calls *calls, void *user, size_t max_items) {
    *u = (struct unsent){.calls = calls, .user = user, .max_items = max_items};
}

/* ---- the list ---- */

void unsent_free(struct pending *p) {
    if (!p)
        return;
    json_decref(p->command);
    free(p);
}

static size_t measure(const json_t *command) {
    struct buf text = BUF_NULL;
    text_print(command, &text);
    size_t len = text.len;
    buf_done(&text);
    return len;
}

static struct pending *new_pending(json_t *command, const char *key) {
    struct pending *p = must_alloc(sizeof(*p));
    *p = (struct pending){.command = command, .n_bytes = measure(command)};
    memcpy(p->key, key, strlen(key) + 1);
    return p;
}

static void insert(struct unsent *u, struct pending **at, struct pending *p) {
    p->next = *at;
    *at = p;
    u->n_bytes += p->n_bytes;
}

static struct pending **end_of(struct unsent *u) {
    struct pending **at = &u->first;
    while (*at)
        at = &(*at)->next;
    return at;
}

void unsent_take_out(struct unsent *u, struct pending *p) {
    for (struct pending **at = &u->first; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            u->n_bytes -= p->n_bytes;
            break;
        }
    if (u->in_flight == p)
        u->in_flight = NULL;
}

size_t unsent_count(const struct unsent *u) {
    size_t n = 0;
    for (const struct pending *p = u->first; p; p = p->next)
        n += p->done_at == 0;
    return n;
}

void unsent_set_command(struct unsent *u, struct pending *p, json_t *command) {
    json_decref(p->command);
    p->command = command;
    u->n_bytes -= p->n_bytes;
    p->n_bytes = measure(command);
    u->n_bytes += p->n_bytes;
}

static size_t count_all(const struct unsent *u) {
    size_t n = 0;
    for (const struct pending *p = u->first; p; p = p->next)
        n++;
    return n;
}

static bool has_room(const struct unsent *u, const struct pending *p) {
    return count_all(u) < u->max_items && u->n_bytes + p->n_bytes <= UNSENT_MAX_BYTES;
}

int unsent_add(struct unsent *u, json_t *command, struct pending **ret,
               struct handoff_error *error) {
    struct pending *p = new_pending(command, frame_string(command, "key"));
    if (!has_room(u, p)) {
        unsent_free(p);
        return problem_set(error, "outbox_full",
                           "%zu commands wait for an answer, no more are kept", count_all(u));
    }
    p->created_at_ms = timestamp_wall_ms();
    insert(u, end_of(u), p);
    u->calls->keep(u->user, p);
    *ret = p;
    return 0;
}

/* ---- as the store has them ---- */

char *unsent_pending_text(const struct pending *p) {
    json_auto_t *stored = json_object();
    json_object_set(stored, "command", p->command);
    json_object_set_new(stored, "createdAt", json_real((double)p->created_at_ms));
    json_object_set_new(stored, "isSent", json_boolean(p->is_sent));
    return text_of(stored);
}

static struct pending *find_key(const struct unsent *u, const char *key) {
    struct pending *p = u->first;
    while (p && strcmp(p->key, key) != 0)
        p = p->next;
    return p;
}

static struct pending *read_pending(const char *key, const json_t *stored) {
    json_t *command = json_object_get(stored, "command");
    int64_t created_at_ms = frame_number(stored, "createdAt");
    if (strlen(key) > UUID_LEN || created_at_ms < 0 || !frame_string(command, "type") ||
        !text_is_same(frame_string(command, "key"), key))
        return NULL;
    struct pending *p = new_pending(json_incref(command), key);
    p->created_at_ms = created_at_ms;
    p->is_sent = json_is_true(json_object_get(stored, "isSent"));
    return p;
}

bool unsent_restore(struct unsent *u, const char *key, const char *text) {
    json_auto_t *stored = NULL;
    struct pending *p = NULL;
    if (text_parse(text, strlen(text), &stored, NULL) == 0 && !find_key(u, key))
        p = read_pending(key, stored);
    if (!p || !has_room(u, p)) {
        unsent_free(p);
        return false;
    }
    insert(u, end_of(u), p);
    return true;
}

/* ---- outcomes ---- */

static void answer(struct unsent *u, struct pending *p, const struct handoff_error *error,
                   const struct handoff_ack *ack) {
    u->calls->changed(u->user);
    u->calls->answer(u->user, p, error, ack);
}

static void settle_done(struct unsent *u, struct pending *p, const struct handoff_ack *ack) {
    delay_reset(&u->delay);
    u->in_flight = NULL;
    p->done_at = ack->position.version;
    u->calls->forget(u->user, p);
    struct pending told = {.answer = p->answer, .user = p->user};
    if (u->calls->done(u->user, p, ack->position)) {
        unsent_take_out(u, p);
        unsent_free(p);
    } else {
        p->answer = NULL;
    }
    answer(u, &told, NULL, ack);
}

static void settle_refused(struct unsent *u, struct pending *p, const struct handoff_error *error,
                           const json_t *problem) {
    u->in_flight = NULL;
    if (u->calls->refused(u->user, p, error, problem)) {
        p->is_sent = false; /* a refused request may be changed, and sent again with its key */
        return;
    }
    u->calls->forget(u->user, p);
    answer(u, p, error, NULL);
    unsent_free(p);
}

static void later(struct unsent *u, int64_t ms) {
    u->waits = true;
    u->calls->later(u->user, ms ? ms : delay_next_ms(&u->delay));
}

static void settle(struct unsent *u, struct pending *p, const struct handoff_error *error,
                   const json_t *problem) {
    u->in_flight = NULL;
    if (problem_is_temporary(error))
        later(u, error->retry_after_ms);
    else
        settle_refused(u, p, error, problem);
}

/* ---- sending ---- */

static void send_one(struct unsent *u, struct pending *p) {
    struct handoff_error error;
    struct handoff_ack ack = {0};
    if (p->is_sent && timestamp_wall_ms() - p->created_at_ms > UNSENT_KEY_LIFETIME_MS) {
        problem_set(&error, "key_expired", "nobody can say any more whether it took effect");
        settle_refused(u, p, &error, NULL);
        return;
    }
    if (!p->is_sent && u->calls->prepare(u->user, p, &ack.position)) {
        settle_done(u, p, &ack);
        return;
    }
    if (!p->is_sent) {
        p->is_sent = true;
        u->calls->keep(u->user, p);
    }
    u->in_flight = p;
    if (u->calls->send(u->user, p, &error) != 0)
        settle(u, p, &error, NULL);
}

static struct pending *next_to_send(const struct unsent *u) {
    struct pending *p = u->first;
    while (p && p->done_at)
        p = p->next;
    return p;
}

void unsent_pump(struct unsent *u) {
    if (u->is_pumping)
        return;
    u->is_pumping = true;
    for (struct pending *p; u->is_open && !u->in_flight && !u->waits && (p = next_to_send(u));)
        send_one(u, p);
    u->is_pumping = false;
}

void unsent_wake(struct unsent *u) {
    u->waits = false;
    unsent_pump(u);
}

void unsent_set_open(struct unsent *u, bool is_open) {
    u->is_open = is_open;
    if (is_open) {
        delay_reset(&u->delay);
        unsent_wake(u);
    }
}

void unsent_acked(struct unsent *u, const struct handoff_ack *ack) {
    if (u->in_flight)
        settle_done(u, u->in_flight, ack);
    unsent_pump(u);
}

void unsent_refused(struct unsent *u, const struct handoff_error *error, const json_t *problem) {
    if (u->in_flight)
        settle(u, u->in_flight, error, problem);
    unsent_pump(u);
}

void unsent_settle(struct unsent *u, int64_t version) {
    struct pending *next;
    for (struct pending *p = u->first; p; p = next) {
        next = p->next;
        if (p->done_at && p->done_at <= version) {
            unsent_take_out(u, p);
            unsent_free(p);
        }
    }
}

static void end_all(struct unsent *u, const struct handoff_error *error, bool forgets) {
    u->is_open = false;
    while (u->first) {
        struct pending *p = u->first;
        unsent_take_out(u, p);
        if (!p->done_at) {
            if (forgets)
                u->calls->forget(u->user, p);
            answer(u, p, error, NULL);
        }
        unsent_free(p);
    }
    u->calls->changed(u->user);
}

void unsent_fail(struct unsent *u, const struct handoff_error *error) {
    end_all(u, error, true);
}

void unsent_done(struct unsent *u) {
    struct handoff_error error;
    problem_set(&error, "closed", "the session was closed before an answer came");
    end_all(u, &error, false);
}
