/* PostgreSQL, the connection's life: made without blocking, watched, made again; see db.h. A host
 * name is looked up by libuv in a thread and handed to libpq as hostaddr, since libpq's own lookup
 * would block the loop. Of several hosts libpq is given one at a time: without blocking, it has no
 * timeout of its own for each. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/db.h"
#include "common/db_link.h"

#define CONNECT_TIMEOUT_MS 5000 /* all hosts share it */
#define CONNECT_HOST_LEAST_MS 1000
#define NEXT_HOST_MS 20
#define STABLE_MS 10000 /* what was up for less counts as another failure: no spin */
#define MAX_ADDRESSES 8
#define MAX_PARAMETERS 64

/* ---- One try ---- */

static const char *option_value(const PQconninfoOption *options, const char *keyword) {
    for (const PQconninfoOption *o = options; o->keyword; o++)
        if (strcmp(o->keyword, keyword) == 0)
            return o->val && *o->val ? o->val : NULL;
    return NULL;
}

struct parameters {
    const char *keywords[MAX_PARAMETERS + 1];
    const char *values[MAX_PARAMETERS + 1];
    int n;
};

/* Later ones win, in libpq as here. */
static void parameter(struct parameters *p, const char *keyword, const char *value) {
    if (p->n == MAX_PARAMETERS || !value)
        return;
    p->keywords[p->n] = keyword;
    p->values[p->n++] = value;
}

static PQconninfoOption *parse_url(const char *url) {
    if (strncmp(url, "postgres://", 11) != 0 && strncmp(url, "postgresql://", 13) != 0)
        return NULL;
    return PQconninfoParse(url, NULL);
}

static void follow_url(struct db *d) {
    PQconninfoOption *options = d->url ? parse_url(*d->url) : NULL;
    if (!options)
        return;
    PQconninfoFree(d->options);
    d->options = options;
}

void db_measure(struct db *d, struct metric *answers) {
    d->answers = answers;
}

void db_follow_url(struct db *d, char *const *url) {
    d->url = url;
}

/* hosts and addresses: of one host; comma-separated lists of the same length. */
static PGconn *start(struct db *d, const char *hosts, const char *addresses) {
    struct parameters p = {0};
    follow_url(d);
    for (const PQconninfoOption *o = d->options; o->keyword; o++)
        parameter(&p, o->keyword, o->val);
    char session[256], user_timeout[24];
    const char *options = option_value(d->options, "options");
    snprintf(session, sizeof(session), "%s -c statement_timeout=%lld -c timezone=UTC",
             options ? options : "", (long long)d->statement_timeout_ms);
    snprintf(user_timeout, sizeof(user_timeout), "%lld", (long long)d->statement_timeout_ms + 2000);
    parameter(&p, "options", session);
    parameter(&p, "application_name", d->application_name);
    parameter(&p, "client_encoding", "UTF8");
    parameter(&p, "keepalives_idle", "5");
    parameter(&p, "keepalives_interval", "2");
    parameter(&p, "keepalives_count", "3");
    parameter(&p, "tcp_user_timeout", user_timeout);
    parameter(&p, "host", hosts);
    parameter(&p, "hostaddr", addresses);
    parameter(&p, "port", d->hosts.all[d->host].port);
    return PQconnectStartParams(p.keywords, p.values, 0);
}

/* libpq would print them on stderr. */
static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

static void now_up(struct db *d) {
    if (PQsetnonblocking(d->conn, 1) || !PQenterPipelineMode(d->conn)) {
        db_lost(d, PQerrorMessage(d->conn));
        return;
    }
    d->state = DB_UP;
    uv_timer_stop(&d->timer);
    d->is_checking = d->checks_schema;
    if (d->is_checking)
        db_check_schema(d);
    else
        db_settled(d);
}

void db_settled(struct db *d) {
    d->is_checking = false;
    d->up_since_ms = uv_now(d->loop);
    free(d->last_why);
    d->last_why = NULL;
    if (d->callbacks.up)
        d->callbacks.up(d->arg);
}

static void free_handle(uv_handle_t *handle) {
    free(handle);
}

static void close_poll(struct db *d) {
    if (d->poll)
        uv_close((uv_handle_t *)d->poll, free_handle);
    d->poll = NULL;
}

/* libpq may have closed its socket and opened another, so each step asks anew. False: no handle. */
static bool watch(struct db *d, int events) {
    int fd = PQsocket(d->conn);
    if (d->poll && d->poll_fd != fd)
        close_poll(d);
    if (!d->poll) {
        d->poll = must_alloc(sizeof(*d->poll));
        if (fd < 0 || uv_poll_init(d->loop, d->poll, fd)) {
            free(d->poll);
            d->poll = NULL;
            return false;
        }
        d->poll->data = d;
        d->poll_fd = fd;
    }
    return uv_poll_start(d->poll, events, db_on_poll) == 0;
}

static void go_on(struct db *d) {
    if (d->poll)
        uv_poll_stop(d->poll); /* before libpq may close the descriptor */
    PostgresPollingStatusType status = PQconnectPoll(d->conn);
    bool ok = status == PGRES_POLLING_OK || status == PGRES_POLLING_READING ||
              status == PGRES_POLLING_WRITING;
    if (!ok || !watch(d, status == PGRES_POLLING_WRITING ? UV_WRITABLE : UV_READABLE))
        db_lost(d, PQerrorMessage(d->conn));
    else if (status == PGRES_POLLING_OK)
        now_up(d);
}

void db_on_poll(uv_poll_t *poll, int status, int events) {
    struct db *d = poll->data;
    if (d->state == DB_UP)
        db_on_up_events(d, status, events);
    else
        go_on(
            d); /* after an error too: libpq tells the reason better, and tries the next address */
}

static void connect_to(struct db *d, const char *hosts, const char *addresses) {
    d->state = DB_CONNECTING;
    d->conn = start(d, hosts, addresses);
    if (!d->conn || PQstatus(d->conn) == CONNECTION_BAD) {
        db_lost(d, d->conn ? PQerrorMessage(d->conn) : "out of memory");
        return;
    }
    PQsetNoticeReceiver(d->conn, ignore_notice, NULL);
    uint64_t share_ms = CONNECT_TIMEOUT_MS / d->hosts.n;
    uv_timer_start(&d->timer, db_on_timer,
                   share_ms > CONNECT_HOST_LEAST_MS ? share_ms : CONNECT_HOST_LEAST_MS, 0);
    if (!watch(d, UV_WRITABLE)) /* as PQconnectPoll's documentation has it */
        db_lost(d, "no socket");
}

/* ---- The host's name ---- */

static void on_lookup(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    struct db *d = request->data;
    d->n_open--;
    if (d->state != DB_RESOLVING) {
        uv_freeaddrinfo(found);
        db_maybe_destroy(d);
        return;
    }
    const char *host = d->hosts.all[d->host].host;
    _cleanup_(buf_done) struct buf hosts = BUF_NULL, addresses = BUF_NULL;
    size_t n = 0;
    for (const struct addrinfo *a = found; !status && a && n < MAX_ADDRESSES; a = a->ai_next) {
        char address[64];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0,
                        NI_NUMERICHOST))
            continue;
        buf_printf(&hosts, "%s%s", n ? "," : "", host);
        buf_printf(&addresses, "%s%s", n ? "," : "", address);
        n++;
    }
    uv_freeaddrinfo(found);
    if (n) {
        connect_to(d, hosts.data, addresses.data);
        return;
    }
    char why[400];
    snprintf(why, sizeof(why), "host %s: %s", host, status ? uv_strerror(status) : "no address");
    db_lost(d, why);
}

void db_start_connecting(struct db *d) {
    const struct db_host *host = &d->hosts.all[d->host];
    if (!db_host_needs_lookup(host)) {
        connect_to(d, host->host, host->address);
        return;
    }
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    d->state = DB_RESOLVING;
    d->lookup.data = d;
    int err = uv_getaddrinfo(d->loop, &d->lookup, on_lookup, host->host, NULL, &hints);
    if (err)
        db_lost(d, uv_strerror(err));
    else
        d->n_open++;
}

/* ---- Loss and end ---- */

void db_disconnect(struct db *d) {
    close_poll(d); /* before PQfinish closes the descriptor */
    PQfinish(d->conn);
    d->conn = NULL;
    d->broken = d->is_checking = false;
    for (struct db_statement *s = d->statements; s; s = s->next)
        s->prepared = s->preparing = false;
}

/* The reason's first line. */
static char *tidy(const char *why) {
    while (*why == '\n' || *why == ' ')
        why++;
    size_t len = strcspn(why, "\n");
    return len ? must_memdup(why, len) : must_strdup("connection lost");
}

/* The next host: soon, as it may answer, or with backoff once none of them did. */
static void try_next(struct db *d) {
    if (d->up_since_ms && uv_now(d->loop) - d->up_since_ms >= STABLE_MS) {
        backoff_reset(&d->backoff);
        d->n_tried = 0;
    }
    d->up_since_ms = 0;
    d->host = (d->host + 1) % d->hosts.n;
    d->n_tried++;
    uint64_t wait_ms = d->n_tried % d->hosts.n ? NEXT_HOST_MS : backoff_next_ms(&d->backoff);
    d->state = DB_WAITING;
    uv_timer_start(&d->timer, db_on_timer, wait_ms, 0);
}

void db_lost(struct db *d, const char *why_given) {
    _cleanup_(freep) char *why = tidy(why_given); /* may lie in the connection */
    db_disconnect(d);
    try_next(d);
    db_fail_all(d);
    if (d->state == DB_CLOSED || (d->last_why && strcmp(d->last_why, why) == 0))
        return;
    free(d->last_why);
    d->last_why = must_strdup(why);
    if (d->callbacks.down)
        d->callbacks.down(d->arg, why);
}

void db_on_timer(uv_timer_t *timer) {
    struct db *d = timer->data;
    if (d->state == DB_WAITING)
        db_start_connecting(d);
    else if (d->state == DB_CONNECTING)
        db_lost(d, "the server does not answer (connecting)");
    else if (d->state == DB_UP && d->broken)
        db_lost(d, PQerrorMessage(d->conn));
    else if (d->state == DB_UP)
        db_lost(d, "the server does not answer");
}

static int parse_hosts(struct db_hosts *ret, const PQconninfoOption *options) {
    return db_hosts_parse(ret, option_value(options, "host"), option_value(options, "hostaddr"),
                          option_value(options, "port"));
}

int db_new(struct db **ret, uv_loop_t *loop, const char *url, const char *application_name,
           int64_t statement_timeout_ms, const struct db_callbacks *callbacks, void *arg) {
    PQconninfoOption *options = parse_url(url);
    struct db_hosts hosts;
    if (!options || parse_hosts(&hosts, options) < 0) {
        PQconninfoFree(options);
        return -EINVAL;
    }
    struct db *d = must_alloc(sizeof(*d));
    d->loop = loop;
    d->options = options;
    d->hosts = hosts;
    d->application_name = must_strdup(application_name);
    d->statement_timeout_ms = statement_timeout_ms;
    if (callbacks)
        d->callbacks = *callbacks;
    d->arg = arg;
    d->last = &d->first;
    d->state = DB_WAITING;
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    d->n_open = 1;
    uv_timer_start(&d->timer, db_on_timer, 0, 0);
    *ret = d;
    return 0;
}

void db_require_schema(struct db *d) {
    d->checks_schema = true;
}

void db_maybe_destroy(struct db *d) {
    if (d->n_open)
        return;
    while (d->statements) {
        struct db_statement *next = d->statements->next;
        free(d->statements);
        d->statements = next;
    }
    PQconninfoFree(d->options);
    db_hosts_done(&d->hosts);
    free(d->application_name);
    free(d->last_why);
    free(d);
}

void db_handle_closed(uv_handle_t *handle) {
    struct db *d = handle->data;
    d->n_open--;
    db_maybe_destroy(d);
}

struct db *db_free(struct db *d) {
    if (!d || d->state == DB_CLOSED)
        return NULL;
    if (d->state == DB_RESOLVING)
        uv_cancel((uv_req_t *)&d->lookup);
    d->state = DB_CLOSED;
    db_disconnect(d);
    uv_close((uv_handle_t *)&d->timer, db_handle_closed);
    db_fail_all(d);
    return NULL;
}
