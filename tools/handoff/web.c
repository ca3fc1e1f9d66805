/* See web.h. */
#include "tools/handoff/web.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "common/curl_loop.h"
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
    struct curl_loop curl;
    struct web_options options;
    struct transfer *transfers;
    size_t n_waiting;
};

/* ---- transfers ---- */

static void transfer_free(struct transfer *t) {
    curl_multi_remove_handle(t->web->curl.multi, t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    buf_done(&t->body);
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->web->n_waiting--;
    free(t);
}

static void finish(void *arg, CURL *easy, CURLcode code) {
    struct transfer *t = NULL;
    long status = 0;
    (void)arg;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
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
    if (curl_multi_add_handle(w->curl.multi, t->easy) != CURLM_OK)
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
    struct web *w = must_alloc(sizeof(*w));
    w->options = *options;
    int err = curl_loop_open(&w->curl, loop, finish, w);
    if (err) {
        free(w);
        return err;
    }
    curl_multi_setopt(w->curl.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, options->max_connections);
    curl_multi_setopt(w->curl.multi, CURLMOPT_MAXCONNECTS, options->max_connections);
    *ret = w;
    return 0;
}

static void free_when_closed(uv_handle_t *handle) {
    free(handle->data);
}

struct web *web_free(struct web *w) {
    if (!w)
        return NULL;
    for (struct transfer *t = w->transfers, *next; t; t = next) {
        next = t->next;
        transfer_free(t);
    }
    curl_loop_close(&w->curl, free_when_closed);
    return NULL;
}
