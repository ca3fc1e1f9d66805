/* See web.h. libcurl tells which descriptors and which moment it waits for; the loop does. */
#include "cli/web.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "common/version.h"

#define BODY_MAX (1u << 20)

struct transfer {
    struct web *web;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body;
    web_done_fn *done;
    void *arg;
    char error[CURL_ERROR_SIZE];
    struct transfer *next, **link; /* all of them */
};

struct web {
    uv_loop_t *loop;
    struct web_options options;
    CURLM *multi;
    uv_timer_t timer;
    struct transfer *transfers;
    size_t n_waiting;
};

/* ---- transfers ---- */

static void transfer_free(struct transfer *t) {
    curl_multi_remove_handle(t->web->multi, t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    buf_done(&t->body);
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->web->n_waiting--;
    free(t);
}

static void finish(struct transfer *t, CURLcode code) {
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    const char *why = t->error[0] ? t->error : curl_easy_strerror(code);
    const struct web_answer answer = {.status = code == CURLE_OK ? (int)status : 0,
                                      .is_nobody = code == CURLE_COULDNT_CONNECT,
                                      .why = code == CURLE_OK ? "" : why,
                                      .body = t->body.data ? t->body.data : "",
                                      .body_len = t->body.len};
    t->done(t->arg, &answer);
    transfer_free(t);
}

static void act(struct web *w, curl_socket_t fd, int events) {
    int n_running, n_left;
    curl_multi_socket_action(w->multi, fd, events, &n_running);
    for (CURLMsg *m; (m = curl_multi_info_read(w->multi, &n_left));)
        if (m->msg == CURLMSG_DONE) {
            struct transfer *t = NULL;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
            finish(t, m->data.result);
        }
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer) {
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout(CURLM *multi, long timeout_ms, void *arg) {
    struct web *w = arg;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&w->timer);
    else
        uv_timer_start(&w->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

struct watched {
    uv_poll_t poll;
    curl_socket_t fd;
};

static void on_poll(uv_poll_t *poll, int status, int events) {
    const struct watched *w = (const struct watched *)poll;
    act(poll->data, w->fd,
        (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
            (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0) | (status < 0 ? CURL_CSELECT_ERR : 0));
}

static void free_watched(uv_handle_t *handle) {
    free(handle);
}

static struct watched *watch(struct web *web, curl_socket_t fd) {
    struct watched *w = must_alloc(sizeof(*w));
    w->fd = fd;
    if (uv_poll_init(web->loop, &w->poll, fd) < 0) {
        free(w);
        return NULL;
    }
    w->poll.data = web;
    curl_multi_assign(web->multi, fd, w);
    return w;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket) {
    struct watched *w = of_socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            uv_poll_stop(&w->poll); /* before libcurl closes the descriptor */
            uv_close((uv_handle_t *)&w->poll, free_watched);
        }
        return 0;
    }
    if (!w && !(w = watch(arg, fd)))
        return -1;
    uv_poll_start(&w->poll,
                  (what & CURL_POLL_IN ? UV_READABLE : 0) |
                      (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
                  on_poll);
    return 0;
}

/* ---- a request ---- */

static size_t on_body(char *data, size_t size, size_t n, void *arg) {
    struct transfer *t = arg;
    if (t->body.len + size * n > BODY_MAX)
        return 0;
    buf_put(&t->body, data, size * n);
    return size * n;
}

static void add_header(struct transfer *t, const char *name, const char *value) {
    _cleanup_(buf_done) struct buf line = BUF_NULL;
    if (!value)
        return;
    buf_printf(&line, "%s: %s", name, value);
    t->headers = curl_slist_append(t->headers, line.data);
}

static void set_headers(struct transfer *t, const struct web_request *r) {
    _cleanup_(buf_done) struct buf bearer = BUF_NULL;
    if (t->web->options.token)
        buf_printf(&bearer, "Bearer %s", t->web->options.token);
    add_header(t, "Authorization", bearer.data);
    add_header(t, "Content-Type", r->type);
    add_header(t, "X-Device-Id", r->device);
    add_header(t, "Expect", ""); /* no round trip more for a large body */
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
}

static void set_options(struct transfer *t, const struct web_request *r) {
    const struct web_options *o = &t->web->options;
    _cleanup_(buf_done) struct buf url = BUF_NULL;
    CURL *e = t->easy;
    buf_printf(&url, "%s%s", o->url, r->path);
    curl_easy_setopt(e, CURLOPT_URL, url.data);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
    if (r->body)
        curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, r->body);
    else if (strcmp(r->method, "POST") == 0)
        curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, "");
    if (o->ca_file) {
        curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "handoff/" HANDOFF_VERSION);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, o->timeout_ms);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    set_headers(t, r);
}

void web_ask(struct web *w, const struct web_request *r, web_done_fn *done, void *arg) {
    struct transfer *t = must_alloc(sizeof(*t));
    *t = (struct transfer){.web = w, .easy = curl_easy_init(), .done = done, .arg = arg};
    if (!t->easy)
        abort(); /* as must_alloc: no memory is left */
    t->next = w->transfers;
    t->link = &w->transfers;
    if (t->next)
        t->next->link = &t->next;
    w->transfers = t;
    w->n_waiting++;
    set_options(t, r);
    if (curl_multi_add_handle(w->multi, t->easy) != CURLM_OK)
        abort();
}

size_t web_n_waiting(const struct web *w) {
    return w->n_waiting;
}

/* ---- the whole ---- */

static bool is_url(const char *url) {
    CURLU *parsed = curl_url();
    char *scheme = NULL;
    bool is_fine = parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
                   curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                   (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_url_cleanup(parsed);
    return is_fine;
}

int web_new(struct web **ret, uv_loop_t *loop, const struct web_options *options) {
    if (!is_url(options->url))
        return -EINVAL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    CURLM *multi = curl_multi_init();
    if (!multi) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    struct web *w = must_alloc(sizeof(*w));
    *w = (struct web){.loop = loop, .options = *options, .multi = multi};
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, w);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, w);
    curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, options->max_connections);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, options->max_connections);
    *ret = w;
    return 0;
}

static void on_timer_closed(uv_handle_t *timer) {
    free(timer->data);
}

struct web *web_free(struct web *w) {
    if (!w)
        return NULL;
    for (struct transfer *t = w->transfers, *next; t; t = next) {
        next = t->next;
        transfer_free(t);
    }
    curl_multi_cleanup(w->multi); /* closes what it still has, and so stops our watching it */
    curl_global_cleanup();
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
    return NULL;
}
