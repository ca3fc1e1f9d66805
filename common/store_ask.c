/* Scripts asked by the asynchronous side: by their hash, and once more by their text where Redis
 * does not have them (any more). */
#include <errno.h>

#include "common/store_link.h"

struct script_ask {
    struct store_ask ask;
    enum store_script script;
    struct store_command args; /* owned */
    bool by_text;
    store_script_done_fn *done;
    void *arg;
};

static void queue(struct store *s, struct script_ask *ask) {
    struct store_command *c = &s->command;
    store_command_begin(c, ask->by_text ? "EVAL" : "EVALSHA");
    store_puts(c, ask->by_text ? store_script_text(ask->script) : s->sha[ask->script]);
    buf_put(&c->words, ask->args.words.data, ask->args.words.len);
    c->n_words += ask->args.n_words;
    store_queue(s->context, c);
    store_link_wait(s, &ask->ask, 1);
}

static void finish(struct store_ask *base, int err, const redisReply *reply) {
    struct script_ask *ask = (struct script_ask *)base;
    struct store *s = base->store;
    if (!err && !ask->by_text && store_is_noscript(reply) && s->state == STORE_LINK_UP) {
        ask->by_text = true;
        queue(s, ask);
        uv_idle_start(&s->soon, store_on_soon);
        return;
    }
    ask->done(ask->arg, err, reply);
    store_command_done(&ask->args);
    free(ask);
}

void store_ask_script(struct store *s, enum store_script script, struct store_command *args,
                      store_script_done_fn *done, void *arg) {
    struct script_ask *ask = must_alloc(sizeof(*ask));
    *ask = (struct script_ask){
        .ask.done = finish, .script = script, .args = *args, .done = done, .arg = arg};
    *args = (struct store_command){0};
    if (store_may_ask(s, &ask->ask))
        queue(s, ask);
}
