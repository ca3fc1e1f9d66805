/* Pipelines over one node or many; see store_node.h.
 *
 * One Redis: what is queued goes straight to its connection, answers are read as they are taken. A
 * cluster: the questions are kept until all of them are answered. What a node sent elsewhere
 * (MOVED, ASK: it was not executed) is asked again there, in the order of the first time, so that
 * saves of one session, which are all in one slot, stay in order. Only then the answers are given.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/store_private.h"

#define MAX_PASSES 5

void store_pipe_clear(struct store_pipe *p) {
    for (size_t i = 0; i < p->n; i++)
        store_reply_freep(&p->units[i].reply);
    p->n = p->n_taken = 0;
    p->n_parts = 0;
    p->is_asked = false;
    buf_clear(&p->bytes);
}

/* ---- queueing ---- */

static void begin_part(struct store_batch *b, const struct store_command *c) {
    struct store_pipe *p = &b->pipe;
    if (p->n_parts++ == 0) {
        p->part_at = p->bytes.len;
        p->part_slot = -1;
    }
    if (!b->url.is_cluster) {
        if (b->nodes[0]->context)
            store_queue(b->nodes[0]->context, c);
        return;
    }
    store_command_print(c, &p->bytes);
    if (p->part_slot < 0)
        p->part_slot = store_command_slot(c);
}

void store_send_part(struct store_batch *b, const struct store_command *c) {
    begin_part(b, c);
}

void store_send_to(struct store_batch *b, struct store_node *node, const struct store_command *c) {
    struct store_pipe *p = &b->pipe;
    begin_part(b, c);
    if (p->n == 0)
        p->begun_ns = b->answers ? uv_hrtime() : 0;
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 64;
        p->units = must_realloc(p->units, p->cap * sizeof(*p->units));
    }
    p->units[p->n++] = (struct store_unit){.node = node,
                                           .slot = p->part_slot,
                                           .n_answers = p->n_parts,
                                           .at = p->part_at,
                                           .len = p->bytes.len - p->part_at,
                                           .is_due = true};
    p->n_parts = 0;
}

void store_send(struct store_batch *b, const struct store_command *c) {
    store_send_to(b, NULL, c);
}

/* ---- answers ---- */

static int error_of(const redisContext *c) {
    int err = -errno;
    if (c->err == REDIS_ERR_EOF)
        return -ECONNRESET;
    if (c->err == REDIS_ERR_IO && err == -EAGAIN)
        return -ETIMEDOUT;
    if (c->err == REDIS_ERR_IO && err < 0)
        return err;
    return -EIO;
}

static int read_one(redisContext *context, redisReply **ret) {
    void *reply = NULL;
    errno = 0;
    if (redisGetReply(context, &reply) != REDIS_OK || !reply)
        return error_of(context);
    *ret = reply;
    return 0;
}

static bool is_exec_abort(const redisReply *reply) {
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "EXECABORT", 9) == 0;
}

/* Of n answers the last; but why MULTI was aborted says the first error. */
static int read_answers(redisContext *context, unsigned n, redisReply **ret) {
    _cleanup_(store_reply_freep) redisReply *reason = NULL, *last = NULL;
    for (unsigned i = 0; i < n; i++) {
        if (last && last->type == REDIS_REPLY_ERROR && !reason)
            reason = TAKE_PTR(last);
        store_reply_freep(&last);
        last = NULL;
        int err = read_one(context, &last);
        if (err)
            return err;
    }
    *ret = reason && is_exec_abort(last) ? TAKE_PTR(reason) : TAKE_PTR(last);
    return 0;
}

/* ---- a cluster's ---- */

static redisReply *make_error(const char *word, const char *what) {
    _cleanup_(buf_done) struct buf text = BUF_NULL;
    void *reply = NULL;
    redisReader *reader = redisReaderCreateWithFunctions(&store_arena_functions);
    buf_printf(&text, "-%s %s\r\n", word, what);
    if (!reader || redisReaderFeed(reader, text.data, text.len) != REDIS_OK ||
        redisReaderGetReply(reader, &reply) != REDIS_OK || !reply)
        abort(); /* memory ran out */
    redisReaderFree(reader);
    return reply;
}

/* Queues what is due, where it belongs. */
static void send_due(struct store_batch *b) {
    static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
    struct store_pipe *p = &b->pipe;
    for (size_t i = 0; i < p->n; i++) {
        struct store_unit *u = &p->units[i];
        if (!u->is_due)
            continue;
        store_reply_freep(&u->reply);
        u->reply = NULL;
        if (!u->node)
            u->node = store_node_of(b, u->slot);
        u->is_sent = u->node && u->node->state == STORE_NODE_UP;
        if (!u->is_sent)
            continue;
        if (u->is_ask)
            store_queue_bytes(u->node->context, asking, sizeof(asking) - 1);
        store_queue_bytes(u->node->context, p->bytes.data + u->at, u->len);
    }
}

static void lose_node(struct store_batch *b, struct store_node *node, int err) {
    char why[256];
    snprintf(why, sizeof(why), "%s", strerror(-err));
    store_node_fail(b, node, err, why);
}

/* All nodes work at the same time: each is sent its questions before any answer is waited for. */
static void flush_all(struct store_batch *b) {
    for (size_t i = 0; i < b->n_nodes; i++) {
        struct store_node *node = b->nodes[i];
        for (int done = 0; node->state == STORE_NODE_UP && !done;) {
            errno = 0;
            if (redisBufferWrite(node->context, &done) != REDIS_OK)
                lose_node(b, node, error_of(node->context));
        }
    }
}

static void read_due(struct store_batch *b) {
    struct store_pipe *p = &b->pipe;
    for (size_t i = 0; i < p->n; i++) {
        struct store_unit *u = &p->units[i];
        if (!u->is_due)
            continue;
        int err = 0;
        if (u->is_sent && u->node->state == STORE_NODE_UP)
            err = read_answers(u->node->context, u->n_answers + u->is_ask, &u->reply);
        if (err)
            lose_node(b, u->node, err);
        if (i == 0)
            p->heard_ms = timestamp_monotonic_ms();
        if (!u->reply)
            u->reply = make_error(u->is_sent ? STORE_ERROR_GONE : STORE_ERROR_AWAY,
                                  "the node of this key is away");
        u->is_due = false;
    }
}

/* Whether it is to be asked at another node. */
static bool redirect(struct store_batch *b, struct store_unit *u) {
    struct store_redirect r;
    if (u->slot < 0 || !u->node || !store_take_redirect(u->reply, &u->node->address, &r))
        return false;
    if (!r.is_ask)
        store_cluster_moved(b, &r);
    u->node = store_node_at(b, &r.to);
    u->is_ask = r.is_ask;
    return u->node != NULL;
}

/* Returns whether another pass is needed. */
static bool redirect_all(struct store_batch *b) {
    struct store_pipe *p = &b->pipe;
    bool is_any = false;
    for (size_t i = 0; i < p->n; i++) {
        struct store_unit *u = &p->units[i];
        if (!u->is_sent)
            continue;
        u->is_sent = false;
        u->is_due = redirect(b, u);
        is_any |= u->is_due;
        b->is_stale |= store_is_temporary(u->reply);
    }
    return is_any;
}

static void ask_cluster(struct store_batch *b) {
    bool goes_on = true;
    for (int pass = 0; goes_on && pass < MAX_PASSES; pass++) {
        if (pass)
            store_cluster_reach(b);
        send_due(b);
        flush_all(b);
        read_due(b);
        goes_on = redirect_all(b);
    }
    b->pipe.is_asked = true;
}

static int next_of_cluster(struct store_batch *b, redisReply **ret) {
    struct store_pipe *p = &b->pipe;
    if (!p->is_asked)
        ask_cluster(b);
    if (!store_batch_is_connected(b))
        return store_drop(b, -ENOTCONN);
    struct store_unit *u = &p->units[p->n_taken++];
    *ret = TAKE_PTR(u->reply);
    p->answered = u->node;
    return 0;
}

int store_next(struct store_batch *b, redisReply **ret) {
    struct store_pipe *p = &b->pipe;
    int err = 0;
    if (!store_batch_is_connected(b))
        return -ENOTCONN;
    if (b->url.is_cluster)
        err = next_of_cluster(b, ret);
    else
        err = read_answers(b->nodes[0]->context, p->units[p->n_taken++].n_answers, ret);
    if (err)
        return b->url.is_cluster ? err : store_drop(b, err);
    if (p->n_taken < p->n)
        return 0;
    if (p->begun_ns)
        metric_observe(b->answers, (double)(uv_hrtime() - p->begun_ns) / 1e9);
    store_pipe_clear(p);
    return 0;
}
