/* The asynchronous reader's connection to one node: hiredis without its async layer. Its context is
 * used as a buffer and a parser, non-blocking, under a poll handle of ours. So the rules about who
 * may free what during a callback are ours too, and a silent server is told from a slow one by the
 * bytes that come.
 *
 * Every wait is counted in ticks of our own timer, not in clock time: when this process was stopped
 * for a while, it has missed ticks, not answers. */
#include "common/store_link.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/timestamp.h"

#define TICK_MS 250
#define SILENT_TICKS 8 /* 2 s */
#define TIME_TICKS 2   /* between two TIMEs while all is well */
#define MAX_REDIRECTS 5

struct store_resolve { /* lives until its callback, which may be after the link */
    uv_getaddrinfo_t request;
    struct store_link *link; /* NULL: nobody wants the answer any more */
};

struct store_poll {
    uv_poll_t handle;
    int events; /* that are watched: to start a poll again costs two system calls */
};

static void on_poll(uv_poll_t *handle, int status, int events);
static void on_retry(uv_timer_t *timer);

static void free_poll(uv_handle_t *handle) {
    free(handle);
}

static void stop(struct store_link *l) {
    if (l->resolve) {
        l->resolve->link = NULL;
        uv_cancel((uv_req_t *)&l->resolve->request);
        l->resolve = NULL;
    }
    if (l->poll)
        uv_close((uv_handle_t *)&l->poll->handle, free_poll);
    l->poll = NULL;
    if (l->context)
        redisFree(l->context);
    l->context = NULL;
    uv_timer_stop(&l->tick);
    l->state = STORE_LINK_RESTING;
    l->asks_time = l->has_output = false;
    l->silent_ticks = 0;
}

static void finish_all(struct store_link *l, int err) {
    l->n_waiting = 0;
    store_list_finish(&l->waiting, err);
    store_list_finish(&l->held, err);
}

void store_link_down(struct store_link *l, int err, const char *why) {
    stop(l);
    uv_timer_start(&l->retry, on_retry, backoff_next_ms(&l->backoff), 0);
    snprintf(l->why, sizeof(l->why), "%s", why);
    finish_all(l, err);
    if (!l->is_closing)
        store_links_judge(l->store);
}

void store_link_fail(struct store_link *l, const char *what, const char *detail) {
    char why[256];
    snprintf(why, sizeof(why), "%.60s: %.180s", what, detail);
    store_link_down(l, -ENOTCONN, why);
}

void store_link_wait(struct store_link *l, struct store_ask *ask, unsigned n_replies) {
    if (!l->n_waiting)
        l->silent_ticks = 0;
    ask->n_replies = n_replies;
    ask->asked_ns = uv_hrtime();
    store_list_add(&l->waiting, ask);
    l->n_waiting++;
    l->has_output = true;
}

void store_link_ask(struct store_link *l, struct store_ask *ask, const char *bytes, size_t n_bytes,
                    unsigned n_replies) {
    store_queue_bytes(l->context, bytes, n_bytes);
    store_link_wait(l, ask, n_replies);
}

void store_link_flush(struct store_link *l) {
    int done = 0;
    if (l->state < STORE_LINK_CHECKING || !l->has_output)
        return;
    if (redisBufferWrite(l->context, &done) != REDIS_OK) {
        store_link_fail(l, "sending failed", l->context->errstr);
        return;
    }
    l->has_output = !done;
    int events = UV_READABLE | (done ? 0 : UV_WRITABLE);
    if (events != l->poll->events)
        uv_poll_start(&l->poll->handle, events, on_poll);
    l->poll->events = events;
}

/* ---- answers ---- */

static void note_redirect(struct store_link *l, struct store_ask *ask, const redisReply *reply) {
    if (ask->bytes && !ask->is_redirected &&
        store_take_redirect(reply, &l->address, &ask->redirect))
        ask->is_redirected = true;
}

static void take_reply(struct store_link *l, const redisReply *reply) {
    struct store_ask *ask = l->waiting.first;
    if (!ask) { /* "max number of clients reached" comes unasked */
        store_link_fail(l, "Redis said", reply->str ? reply->str : "what was not asked");
        return;
    }
    note_redirect(l, ask, reply);
    if (--ask->n_replies)
        return;
    l->waiting.first = ask->next;
    if (!l->waiting.first)
        l->waiting.end = NULL;
    l->n_waiting--;
    if (l->store->answers)
        metric_observe(l->store->answers, (double)(uv_hrtime() - ask->asked_ns) / 1e9);
    if (ask->is_redirected && ask->n_redirects++ < MAX_REDIRECTS)
        store_links_follow(ask);
    else
        store_ask_finish(ask, 0, reply);
}

/* An answer's callback may end this connection, or the store: then the context is gone. */
static void take_replies(struct store_link *l) {
    while (l->context) {
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        void *next = NULL;
        if (redisGetReplyFromReader(l->context, &next) != REDIS_OK) {
            store_link_fail(l, "a bad answer", l->context->errstr);
            return;
        }
        if (!next)
            return;
        reply = next;
        take_reply(l, reply);
    }
}

static int socket_error(const redisContext *c) {
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len))
        return errno;
    return error;
}

static void on_poll(uv_poll_t *handle, int status, int events) {
    struct store_link *l = handle->data;
    l->silent_ticks = 0;
    if (status < 0 || l->state == STORE_LINK_CONNECTING) {
        int error = socket_error(l->context);
        if (status < 0 || error)
            store_link_fail(l, "the connection failed",
                            error ? strerror(error) : uv_strerror(status));
        else
            store_link_introduce(l);
        return;
    }
    if (events & UV_READABLE) {
        if (redisBufferRead(l->context) != REDIS_OK) {
            store_link_fail(l, "the connection was lost", l->context->errstr);
            return;
        }
        take_replies(l);
    }
    if ((events & UV_WRITABLE) && l->context)
        store_link_flush(l);
}

/* Something is asked in every state from CONNECTING on but in UP with nothing waiting. */
static void on_tick(uv_timer_t *timer) {
    struct store_link *l = timer->data;
    bool is_asking = l->state != STORE_LINK_UP || l->n_waiting;
    l->silent_ticks = is_asking ? l->silent_ticks + 1 : 0;
    if (l->silent_ticks > SILENT_TICKS) {
        store_link_down(l, -ETIMEDOUT, "Redis has not answered for 2 s");
    } else if (l->state == STORE_LINK_UP && !l->asks_time && ++l->time_ticks >= TIME_TICKS) {
        store_link_ask_time(l);
        store_link_flush(l);
    }
    if (l->state == STORE_LINK_UP)
        store_links_tick(l);
}

/* ---- connecting ---- */

static int start_poll(struct store_link *l) {
    l->poll = must_alloc(sizeof(*l->poll));
    l->poll->handle.data = l;
    int err = uv_poll_init(l->store->loop, &l->poll->handle, l->context->fd);
    if (err) {
        free(l->poll);
        l->poll = NULL;
        return err;
    }
    return uv_poll_start(&l->poll->handle, UV_WRITABLE, on_poll);
}

static void connect_to(struct store_link *l, const struct sockaddr *address) {
    char ip[INET6_ADDRSTRLEN] = "";
    uv_ip_name(address, ip, sizeof(ip));
    l->context = redisConnectNonBlock(ip, l->address.port);
    if (!l->context || l->context->err) {
        store_link_fail(l, "cannot connect", l->context ? l->context->errstr : "out of memory");
        return;
    }
    l->context->reader->fn = &store_arena_functions;
    l->state = STORE_LINK_CONNECTING;
    l->silent_ticks = 0;
    uv_timer_start(&l->tick, on_tick, TICK_MS, TICK_MS);
    int err = start_poll(l);
    if (err)
        store_link_fail(l, "cannot watch the connection", uv_strerror(err));
}

/* A host may have several addresses (::1 and 127.0.0.1): each attempt takes the next one. */
static const struct addrinfo *pick(const struct addrinfo *list, unsigned n_tries) {
    unsigned n = 0;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        n++;
    for (unsigned skip = n_tries % n; skip; skip--)
        list = list->ai_next;
    return list;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list) {
    struct store_resolve *resolve = request->data;
    struct store_link *l = resolve->link;
    free(resolve);
    if (l) {
        l->resolve = NULL;
        if (status || !list)
            store_link_fail(l, "the host's name cannot be resolved",
                            status ? uv_strerror(status) : "no address");
        else
            connect_to(l, pick(list, l->n_tries++)->ai_addr);
    }
    uv_freeaddrinfo(list);
}

static void begin(struct store_link *l) {
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct store_resolve *resolve = must_alloc(sizeof(*resolve));
    resolve->request.data = resolve;
    resolve->link = l;
    l->state = STORE_LINK_RESOLVING;
    int err = uv_getaddrinfo(l->store->loop, &resolve->request, on_resolved, l->address.host, NULL,
                             &hints);
    if (err) {
        free(resolve);
        store_link_fail(l, "the host's name cannot be resolved", uv_strerror(err));
    } else {
        l->resolve = resolve;
    }
}

static void on_retry(uv_timer_t *timer) {
    begin(timer->data);
}

/* ---- life ---- */

struct store_link *store_link_new(struct store *s, const struct store_address *address) {
    struct store_link *l = must_alloc(sizeof(*l));
    l->store = s;
    l->address = *address;
    uv_timer_init(s->loop, &l->tick); /* these two cannot fail */
    uv_timer_init(s->loop, &l->retry);
    l->tick.data = l->retry.data = l;
    l->n_handles = 2;
    s->n_handles++;
    return l;
}

void store_link_start(struct store_link *l) {
    begin(l);
}

static void on_closed(uv_handle_t *handle) {
    struct store_link *l = handle->data;
    if (--l->n_handles)
        return;
    store_handle_closed(l->store);
    free(l);
}

void store_link_close(struct store_link *l, int err) {
    l->is_closing = true;
    stop(l);
    uv_timer_stop(&l->retry);
    finish_all(l, err);
    uv_close((uv_handle_t *)&l->tick, on_closed);
    uv_close((uv_handle_t *)&l->retry, on_closed);
}
