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
    if (ask->args.key_len) {
        c->key_at = c->words.len - ask->args.words.len + ask->args.key_at;
        c->key_len = ask->args.key_len;
    }
    store_ask_send(s, &ask->ask);
}

static void finish(struct store_ask *base, int err, const redisReply *reply) {
    struct script_ask *ask = (struct script_ask *)base;
    struct store *s = base->store;
    if (!err && !ask->by_text && store_is_noscript(reply)) {
        ask->by_text = true;
        queue(s, ask);
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
    queue(s, ask);
}
