/* The asynchronous reader's connection: hiredis without its async layer. Its context is used as a
 * buffer and a parser, non-blocking, under a poll handle of ours. So the rules about who may free
 * what during a callback are ours too, and a silent server is told from a slow one by the bytes
 * that come.
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

struct store_resolve { /* lives until its callback, which may be after the store */
    uv_getaddrinfo_t request;
    struct store *store; /* NULL: nobody wants the answer any more */
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

void store_link_stop(struct store *s) {
    if (s->resolve) {
        s->resolve->store = NULL;
        uv_cancel((uv_req_t *)&s->resolve->request);
        s->resolve = NULL;
    }
    if (s->poll)
        uv_close((uv_handle_t *)&s->poll->handle, free_poll);
    s->poll = NULL;
    if (s->context)
        redisFree(s->context);
    s->context = NULL;
    uv_timer_stop(&s->tick);
    s->state = STORE_LINK_RESTING;
    s->asks_time = false;
    s->silent_ticks = 0;
}

/* The callback hears of each outage once, and again when its reason changes. */
static void link_down(struct store *s, int err, const char *why) {
    bool is_news = s->state == STORE_LINK_UP || strcmp(s->why, why) != 0;
    store_link_stop(s);
    uv_timer_start(&s->retry, on_retry, backoff_next_ms(&s->backoff), 0);
    snprintf(s->why, sizeof(s->why), "%s", why);
    s->n_waiting = 0;
    store_list_finish(&s->waiting, err);
    if (is_news && !s->closing && s->callbacks.down)
        s->callbacks.down(s->arg, s->why);
}

static void link_failed(struct store *s, const char *what, const char *detail) {
    char why[256];
    snprintf(why, sizeof(why), "%.60s: %.180s", what, detail);
    link_down(s, -ENOTCONN, why);
}

void store_link_wait(struct store *s, struct store_ask *ask, unsigned n_replies) {
    if (!s->n_waiting)
        s->silent_ticks = 0;
    ask->n_replies = n_replies;
    store_list_add(&s->waiting, ask);
    s->n_waiting++;
}

void store_link_flush(struct store *s) {
    int done = 0;
    if (s->state < STORE_LINK_CHECKING)
        return;
    if (redisBufferWrite(s->context, &done) != REDIS_OK) {
        link_failed(s, "sending failed", s->context->errstr);
        return;
    }
    int events = UV_READABLE | (done ? 0 : UV_WRITABLE);
    if (events != s->poll->events)
        uv_poll_start(&s->poll->handle, events, on_poll);
    s->poll->events = events;
}

/* ---- the link's own questions ---- */

static void ask_own(struct store *s,
                    void (*done)(struct store_ask *ask, int err, const redisReply *reply)) {
    struct store_ask *ask = must_alloc(sizeof(*ask));
    ask->store = s;
    ask->done = done;
    store_link_wait(s, ask, 1);
}

static void on_time(struct store_ask *ask, int err, const redisReply *reply) {
    struct store *s = ask->store;
    int64_t now;
    free(ask);
    if (err)
        return;
    s->asks_time = false;
    s->time_ticks = 0;
    if (!store_take_time(reply, &now)) {
        link_failed(s, "TIME was refused", reply->str ? reply->str : "");
        return;
    }
    s->time_offset = now - timestamp_monotonic_ms();
    s->has_time = true;
    if (s->state != STORE_LINK_CHECKING)
        return;
    s->state = STORE_LINK_UP;
    s->why[0] = '\0';
    backoff_reset(&s->backoff);
    if (s->callbacks.up)
        s->callbacks.up(s->arg);
}

static void on_login(struct store_ask *ask, int err, const redisReply *reply) {
    struct store *s = ask->store;
    free(ask);
    if (!err && reply->type == REDIS_REPLY_ERROR)
        link_failed(s, "login was refused", reply->str);
}

static void on_info(struct store_ask *ask, int err, const redisReply *reply) {
    struct store *s = ask->store;
    char why[256];
    free(ask);
    if (!err && !store_node_is_fit(reply, s->run_id, why))
        link_down(s, -ENOTCONN, why);
}

static void ask_time(struct store *s) {
    store_command_begin(&s->command, "TIME");
    store_queue(s->context, &s->command);
    ask_own(s, on_time);
    s->asks_time = true;
}

static void introduce(struct store *s) {
    s->state = STORE_LINK_CHECKING;
    size_t n_login = store_queue_login(&s->command, &s->url, s->context);
    for (size_t i = 0; i < n_login; i++)
        ask_own(s, on_login);
    store_command_begin(&s->command, "INFO");
    store_queue(s->context, &s->command);
    ask_own(s, on_info);
    ask_time(s);
    store_link_flush(s);
}

/* ---- answers ---- */

static void take_reply(struct store *s, const redisReply *reply) {
    struct store_ask *ask = s->waiting.first;
    if (!ask) { /* "max number of clients reached" comes unasked */
        link_failed(s, "Redis said", reply->str ? reply->str : "what was not asked");
        return;
    }
    if (--ask->n_replies)
        return;
    s->waiting.first = ask->next;
    if (!s->waiting.first)
        s->waiting.end = NULL;
    s->n_waiting--;
    ask->done(ask, 0, reply);
}

/* An answer's callback may end this connection, or the store: then the context is gone. */
static void take_replies(struct store *s) {
    while (s->context) {
        _cleanup_(store_reply_freep) redisReply *reply = NULL;
        void *next = NULL;
        if (redisGetReplyFromReader(s->context, &next) != REDIS_OK) {
            link_failed(s, "a bad answer", s->context->errstr);
            return;
        }
        if (!next)
            return;
        reply = next;
        take_reply(s, reply);
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
    struct store *s = handle->data;
    s->silent_ticks = 0;
    if (status < 0 || s->state == STORE_LINK_CONNECTING) {
        int error = socket_error(s->context);
        if (status < 0 || error)
            link_failed(s, "the connection failed", error ? strerror(error) : uv_strerror(status));
        else
            introduce(s);
        return;
    }
    if (events & UV_READABLE) {
        if (redisBufferRead(s->context) != REDIS_OK) {
            link_failed(s, "the connection was lost", s->context->errstr);
            return;
        }
        take_replies(s);
    }
    if ((events & UV_WRITABLE) && s->context)
        store_link_flush(s);
}

/* Something is asked in every state from CONNECTING on but in UP with nothing waiting. */
static void on_tick(uv_timer_t *timer) {
    struct store *s = timer->data;
    bool is_asking = s->state != STORE_LINK_UP || s->n_waiting;
    s->silent_ticks = is_asking ? s->silent_ticks + 1 : 0;
    if (s->silent_ticks > SILENT_TICKS) {
        link_down(s, -ETIMEDOUT, "Redis has not answered for 2 s");
    } else if (s->state == STORE_LINK_UP && !s->asks_time && ++s->time_ticks >= TIME_TICKS) {
        ask_time(s);
        store_link_flush(s);
    }
}

/* ---- connecting ---- */

static int start_poll(struct store *s) {
    s->poll = must_alloc(sizeof(*s->poll));
    s->poll->handle.data = s;
    int err = uv_poll_init(s->loop, &s->poll->handle, s->context->fd);
    if (err) {
        free(s->poll);
        s->poll = NULL;
        return err;
    }
    return uv_poll_start(&s->poll->handle, UV_WRITABLE, on_poll);
}

static void connect_to(struct store *s, const struct sockaddr *address) {
    char ip[INET6_ADDRSTRLEN] = "";
    uv_ip_name(address, ip, sizeof(ip));
    s->context = redisConnectNonBlock(ip, s->url.port);
    if (!s->context || s->context->err) {
        link_failed(s, "cannot connect", s->context ? s->context->errstr : "out of memory");
        return;
    }
    s->state = STORE_LINK_CONNECTING;
    s->silent_ticks = 0;
    uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
    int err = start_poll(s);
    if (err)
        link_failed(s, "cannot watch the connection", uv_strerror(err));
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
    struct store *s = resolve->store;
    free(resolve);
    if (s) {
        s->resolve = NULL;
        if (status || !list)
            link_failed(s, "the host's name cannot be resolved",
                        status ? uv_strerror(status) : "no address");
        else
            connect_to(s, pick(list, s->n_tries++)->ai_addr);
    }
    uv_freeaddrinfo(list);
}

void store_link_start(struct store *s) {
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct store_resolve *resolve = must_alloc(sizeof(*resolve));
    resolve->request.data = resolve;
    resolve->store = s;
    s->state = STORE_LINK_RESOLVING;
    int err = uv_getaddrinfo(s->loop, &resolve->request, on_resolved, s->url.host, NULL, &hints);
    if (err) {
        free(resolve);
        link_failed(s, "the host's name cannot be resolved", uv_strerror(err));
    } else {
        s->resolve = resolve;
    }
}

static void on_retry(uv_timer_t *timer) {
    store_link_start(timer->data);
}
