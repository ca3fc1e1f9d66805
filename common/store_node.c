/* One node's connection; see store_node.h. It is made without blocking: the host's name is looked
 * up in a thread, then connect, login, INFO, who has which slot, scripts. Once it is up its socket
 * blocks, with a timeout: a pipeline is waited for. */
#include "common/store_node.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/timestamp.h"
#include "common/store_private.h"

#define TIMEOUT_S 2
#define SILENT_MS (TIMEOUT_S * 1000)
#define LOOKUP_MS 1000

struct store_node *store_node_new(const struct store_address *address) {
    struct store_node *node = must_alloc(sizeof(*node));
    node->address = *address;
    node->is_new = true;
    return node;
}

struct store_node *store_node_free(struct store_node *node) {
    if (!node)
        return NULL;
    lookup_abandon(node->lookup);
    if (node->context)
        redisFree(node->context);
    free(node);
    return NULL;
}

void store_node_fail(struct store_batch *b, struct store_node *node, int err, const char *why) {
    if (node->context)
        redisFree(node->context);
    node->context = NULL;
    b->n_losses += node->state == STORE_NODE_UP;
    b->is_stale = true;
    node->state = STORE_NODE_AWAY;
    node->err = err;
    snprintf(node->why, sizeof(node->why), "%s", why);
    node->retry_ms = timestamp_monotonic_ms() + (int64_t)backoff_next_ms(&node->backoff);
}

/* ---- who it is ---- */

static void introduce(struct store_batch *b, struct store_node *node) {
    struct store_command c = {0};
    node->n_taken = 0;
    store_url_follow(&b->url, b->url_text);
    node->n_login = (unsigned)store_queue_login(&c, &b->url, node->context);
    store_command_begin(&c, "INFO");
    store_queue(node->context, &c);
    if (b->url.is_cluster) {
        store_command_begin(&c, "CLUSTER");
        store_puts(&c, "SLOTS");
        store_queue(node->context, &c);
    }
    store_command_done(&c);
    store_queue_scripts(node->context);
}

/* 0; or what is wrong, with ret_why. */
static int take_script(const redisReply *reply, unsigned i, char ret_why[static 256]) {
    if (reply->type == REDIS_REPLY_STRING)
        return 0;
    snprintf(ret_why, 256, "%s was refused: %.200s", store_script_file((enum store_script)i),
             reply->str ? reply->str : "");
    return -EIO;
}

static int take_slots(struct store_batch *b, const struct store_node *node, const redisReply *reply,
                      char ret_why[static 256]) {
    if (store_cluster_note(b, node, reply))
        return 0;
    bool is_error = reply->type == REDIS_REPLY_ERROR;
    snprintf(ret_why, 256, "CLUSTER SLOTS: %.200s", is_error ? reply->str : "nobody has any slot");
    return -EPROTO;
}

static int take_introduction(struct store_batch *b, struct store_node *node, unsigned i,
                             const redisReply *reply, char ret_why[static 256]) {
    if (i < node->n_login) {
        if (reply->type != REDIS_REPLY_ERROR)
            return 0;
        snprintf(ret_why, 256, "login was refused: %.200s", reply->str);
        return -EACCES;
    }
    i -= node->n_login;
    if (i == 0)
        return store_node_is_fit(reply, b->url.is_cluster, node->run_id, ret_why) ? 0 : -EPROTO;
    if (i == 1 && b->url.is_cluster)
        return take_slots(b, node, reply, ret_why);
    return take_script(reply, i - 1 - b->url.is_cluster, ret_why);
}

static bool is_introduced(const struct store_batch *b, const struct store_node *node) {
    return node->n_taken == node->n_login + 1 + b->url.is_cluster + STORE_N_SCRIPTS;
}

/* ---- connecting ---- */

static void come_up(struct store_batch *b, struct store_node *node) {
    static const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int flags = fcntl(node->context->fd, F_GETFL);
    node->context->flags |= REDIS_BLOCK;
    if (flags < 0 || fcntl(node->context->fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ||
        redisSetTimeout(node->context, timeout) != REDIS_OK) {
        store_node_fail(b, node, -ENOTCONN, "its socket cannot be set up");
        return;
    }
    node->state = STORE_NODE_UP;
    node->why[0] = '\0';
    backoff_reset(&node->backoff);
}

static bool connect_to(struct store_batch *b, struct store_node *node, const char *ip) {
    node->context = redisConnectNonBlock(ip, node->address.port);
    if (!node->context || node->context->err)
        return false;
    node->context->reader->fn = &store_arena_functions;
    node->is_connecting = true;
    introduce(b, node);
    return true;
}

/* A host may have several addresses (::1 and 127.0.0.1): one that refuses is followed by the next
 * one, and a try begins with another than the last. why: none is left. */
static void try_addresses(struct store_batch *b, struct store_node *node, char why[static 256]) {
    while (node->n_left) {
        node->n_left--;
        if (node->context)
            redisFree(node->context);
        if (connect_to(b, node, node->found.addresses[node->n_tries++ % node->found.n]))
            return;
        snprintf(why, 256, "%s", node->context ? node->context->errstr : "out of memory");
    }
    store_node_fail(b, node, -ENOTCONN, why);
}

/* One that goes on since an earlier try was waited for then. */
static int look_up(const struct store_batch *b, struct store_node *node) {
    int err = node->lookup ? 0 : lookup_begin(&node->lookup, b->lookups, node->address.host);
    return err ? err : lookup_take(&node->lookup, &node->found);
}

static void find(struct store_batch *b, struct store_node *node) {
    char why[256] = "no address";
    int64_t now = timestamp_monotonic_ms();
    int err = look_up(b, node);
    if (err == -EAGAIN && now - node->heard_ms < node->lookup_ms)
        return;
    node->heard_ms = now;
    if (!err && node->found.n) {
        node->n_left = node->found.n;
        try_addresses(b, node, why);
        return;
    }
    snprintf(why, sizeof(why), "the host's name cannot be resolved: %.80s: %.120s",
             node->address.host,
             err == -EAGAIN ? "no answer yet"
             : err          ? strerror(-err)
                            : node->found.why);
    store_node_fail(b, node, err == -EAGAIN ? -ETIMEDOUT : -ENOTCONN, why);
}

void store_node_start(struct store_batch *b, struct store_node *node) {
    node->state = STORE_NODE_COMING;
    node->heard_ms = timestamp_monotonic_ms();
    node->lookup_ms = node->lookup ? 0 : LOOKUP_MS;
    find(b, node);
}

static short wanted_events(const struct store_node *node) {
    bool has_output = node->is_connecting || sdslen(node->context->obuf) > 0;
    return (short)(POLLIN | (has_output ? POLLOUT : 0));
}

static bool take_answers(struct store_batch *b, struct store_node *node) {
    while (!is_introduced(b, node)) {
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        void *next = NULL;
        char why[256] = "";
        if (redisGetReplyFromReader(node->context, &next) != REDIS_OK)
            return false;
        if (!next)
            return true;
        reply = next;
        int err = take_introduction(b, node, node->n_taken++, reply, why);
        if (err) {
            store_node_fail(b, node, err, why);
            return true;
        }
    }
    come_up(b, node);
    return true;
}

static bool exchange(struct store_batch *b, struct store_node *node, short events) {
    int done;
    if (redisBufferWrite(node->context, &done) != REDIS_OK)
        return false;
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return true;
    return redisBufferRead(node->context) == REDIS_OK && take_answers(b, node);
}

static void go_on(struct store_batch *b, struct store_node *node, short events) {
    int error = 0;
    socklen_t len = sizeof(error);
    if (node->is_connecting && getsockopt(node->context->fd, SOL_SOCKET, SO_ERROR, &error, &len))
        error = errno;
    if (error) {
        char why[256];
        snprintf(why, sizeof(why), "%s", strerror(error));
        try_addresses(b, node, why);
        return;
    }
    node->heard_ms = timestamp_monotonic_ms();
    node->is_connecting = false;
    if (!exchange(b, node, events)) {
        char why[256];
        snprintf(why, sizeof(why), "%s", node->context->errstr);
        store_node_fail(b, node, -ECONNRESET, why);
    }
}

void store_node_step(struct store_batch *b, struct store_node *node) {
    if (!node->context) {
        find(b, node);
        return;
    }
    struct pollfd fd = {.fd = node->context->fd, .events = wanted_events(node)};
    if (poll(&fd, 1, 0) > 0)
        go_on(b, node, fd.revents);
    else if (timestamp_monotonic_ms() - node->heard_ms >= SILENT_MS)
        store_node_fail(b, node, -ETIMEDOUT, "no answer: Connection timed out");
}

/* Any of them, for so long. */
static void wait_for_any(const struct store_batch *b, int64_t ms) {
    _cleanup_(freep) struct pollfd *fds = must_alloc((b->n_nodes + 1) * sizeof(*fds));
    nfds_t n = 1;
    fds[0] = (struct pollfd){.fd = lookups_fd(b->lookups), .events = POLLIN};
    for (size_t i = 0; i < b->n_nodes; i++)
        if (b->nodes[i]->state == STORE_NODE_COMING && b->nodes[i]->context)
            fds[n++] = (struct pollfd){.fd = b->nodes[i]->context->fd,
                                       .events = wanted_events(b->nodes[i])};
    if (poll(fds, n, (int)ms) > 0 && fds[0].revents)
        lookups_clear(b->lookups);
}

static bool step_all(struct store_batch *b) {
    bool is_any_coming = false;
    for (size_t i = 0; i < b->n_nodes; i++) {
        if (b->nodes[i]->state == STORE_NODE_COMING)
            store_node_step(b, b->nodes[i]);
        is_any_coming |= b->nodes[i]->state == STORE_NODE_COMING;
    }
    return is_any_coming;
}

void store_nodes_wait(struct store_batch *b, int64_t ms) {
    int64_t until = timestamp_monotonic_ms() + ms;
    while (step_all(b)) {
        int64_t left = until - timestamp_monotonic_ms();
        if (left <= 0)
            return;
        wait_for_any(b, left < 50 ? left : 50);
    }
}
