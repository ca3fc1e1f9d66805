/* A message with commands, as the broker brings it to the engine: a line with properties (+ for one
 * that comes again, - for one too large; then where the answer goes), then the body. It is taken
 * whole or not at all; its commands are those that the slow reading of the same body finds. */
#include "fuzz_json.h"
#include "proto/route.h"
#include "services/state_engine/job.h"

#define GENERATION 7

static void take_properties(const char *line, struct bus_message *m) {
    m->redelivered = line[0] == '+';
    m->too_large = line[0] == '-';
    snprintf(m->reply_to, sizeof(m->reply_to), "%s", line[0] ? line + 1 : "");
}

static void must_be_same(const struct command *a, const json_t *object) {
    _cleanup_(buf_done) struct buf printed = BUF_NULL, again = BUF_NULL;
    struct command b;
    must_hold(command_parse(object, &b, NULL) == 0);
    command_print(a, &printed);
    command_print(&b, &again);
    must_equal(&printed, &again);
    command_done(&b);
}

static void check_job(struct job *j, const struct delivery *d, const json_t *object) {
    must_hold(j->delivery == d && uuid_is(j->command.id, UUID_LEN));
    must_hold(job_may_be_saved(j) == d->redelivered && strlen(job_hash_id(j)) == HASH_HEX_LEN);
    must_hold(!j->command.key[0] || strlen(j->key_hash) == HASH_HEX_LEN);
    must_be_same(&j->command, object);
}

static void check_taken(const struct bus_message *m, const struct delivery *d, struct queue *jobs) {
    json_t *body = fuzz_value((const uint8_t *)m->body, m->body_len);
    const json_t *commands = json_object_get(body, "commands");
    must_hold(jobs->n >= 1 && jobs->n <= COMMAND_MAX_PER_MESSAGE && d->n_open == jobs->n);
    must_hold(json_array_size(commands) == jobs->n);
    must_hold(!m->reply_to[0] || route_is_reply_to(m->reply_to, strlen(m->reply_to)));
    must_hold(!d->redelivered ||
              (d->body_len == m->body_len && memcmp(d->body, m->body, m->body_len) == 0));
    for (size_t i = 0; i < json_array_size(commands); i++) {
        struct job *j = queue_pop(jobs);
        check_job(j, d, json_array_get(commands, i));
        job_free(j);
    }
    json_decref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *end = memchr(text, '\n', size);
    struct bus_message m = {.tag = 3};
    struct queue jobs = {0};
    struct delivery *d = NULL;
    struct fault f = {0};
    if (end) {
        *end = '\0';
        take_properties(text, &m);
        m.body = end + 1;
        m.body_len = m.too_large ? 0 : size - (size_t)(end + 1 - text);
        int r = delivery_read(&m, GENERATION, &d, &jobs, &f);
        must_hold(r == (int)f.code && (r == 0) == (d != NULL));
        if (r == 0)
            check_taken(&m, d, &jobs);
        must_hold(jobs.n == 0 && (r == 0 || f.detail[0]));
        delivery_free(d);
    }
    free(text);
    return 0;
}
