/* HTTP exchanges; see fetch.h. libcurl resolves names in a thread of its own. */
#include "common/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/version.h"

#define TIMEOUT_MS 10000L
#define HEADER_BYTES_MAX (64u << 10)

DEFINE_CLEANUP(CURLU *, curl_url_cleanup)

struct fetch {
    struct fetch_options options;
    CURLM *multi;
    CURL *easy; /* NULL but while fetching */
    struct curl_slist *headers;
    struct buf body;
    size_t n_header_bytes;
    char error[CURL_ERROR_SIZE];
    char too_much[64]; /* why we broke off; "": we did not */
    uv_timer_t timer;  /* libcurl's */
};

/* ---- what came of it ---- */

static void end_transfer(struct fetch *f) {
    if (!f->easy)
        return;
    curl_multi_remove_handle(f->multi, f->easy);
    curl_easy_cleanup(TAKE_PTR(f->easy));
    curl_slist_free_all(TAKE_PTR(f->headers));
}

static void answer(struct fetch *f, CURLcode code) {
    long status = 0;
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(f->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    end_transfer(f);
    struct buf body = f->body;
    f->body = BUF_NULL;
    struct fetch_answer a = {.status = (int)status,
                             .body = body.data ? body.data : "",
                             .body_len = body.len,
                             .retry_after_s = retry_after_s};
    if (code != CURLE_OK)
        a.error = f->too_much[0] ? f->too_much : f->error[0] ? f->error : curl_easy_strerror(code);
    f->options.done(f->options.arg, &a);
    buf_done(&body);
}

/* ---- libcurl in the loop ---- */

static void check_done(struct fetch *f) {
    int n_left;
    for (CURLMsg *m; (m = curl_multi_info_read(f->multi, &n_left));)
        if (m->msg == CURLMSG_DONE) {
            answer(f, m->data.result);
            return;
        }
}

/* A thread that libcurl makes on the way blocks all signals: they are for the loop's own (app.c).
 */
static void act(struct fetch *f, curl_socket_t fd, int events) {
    sigset_t all, before;
    int n_running;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    curl_multi_socket_action(f->multi, fd, events, &n_running);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    check_done(f);
}

static void on_timer(uv_timer_t *timer) {
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout(CURLM *multi, long timeout_ms, void *arg) {
    struct fetch *f = arg;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&f->timer);
    else
        uv_timer_start(&f->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

struct watched {
    uv_poll_t poll;
    curl_socket_t fd;
};

static void on_poll(uv_poll_t *poll, int status, int events) {
    const struct watched *w = (const struct watched *)poll;
    int for_curl = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                   (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0) |
                   (status < 0 ? CURL_CSELECT_ERR : 0);
    act(poll->data, w->fd, for_curl);
}

static void free_watched(uv_handle_t *handle) {
    free(handle);
}

static struct watched *watch(struct fetch *f, curl_socket_t fd) {
    struct watched *w = must_alloc(sizeof(*w));
    w->fd = fd;
    if (uv_poll_init(f->options.loop, &w->poll, fd) < 0) {
        free(w);
        return NULL;
    }
    w->poll.data = f;
    curl_multi_assign(f->multi, fd, w);
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
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&w->poll, events, on_poll);
    return 0;
}

/* ---- a transfer ---- */

static size_t on_body(char *data, size_t size, size_t n, void *arg) {
    struct fetch *f = arg;
    if (f->body.len + size * n > f->options.max_answer_bytes) {
        snprintf(f->too_much, sizeof(f->too_much), "the answer has over %zu KiB",
                 f->options.max_answer_bytes >> 10);
        return 0;
    }
    buf_put(&f->body, data, size * n);
    return size * n;
}

/* libcurl keeps them all. */
static size_t on_header(char *data, size_t size, size_t n, void *arg) {
    struct fetch *f = arg;
    (void)data;
    f->n_header_bytes += size * n;
    if (f->n_header_bytes <= HEADER_BYTES_MAX)
        return size * n;
    snprintf(f->too_much, sizeof(f->too_much), "the answer's headers have over 64 KiB");
    return 0;
}

static void set_way(struct fetch *f) {
    const struct fetch_options *o = &f->options;
    CURL *e = f->easy;
    curl_easy_setopt(e, CURLOPT_URL, o->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (*o->ca_file) {
        curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    if (o->is_direct)
        curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "handoff/" HANDOFF_VERSION);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* else a name server that is silent blocks us */
}

static void set_answer(struct fetch *f) {
    CURL *e = f->easy;
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, f);
}

static void add_header(struct fetch *f, const char *name, const char *value) {
    _cleanup_(buf_done) struct buf line = BUF_NULL;
    buf_printf(&line, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(f->headers, line.data);
    f->headers = longer ? longer : f->headers;
}

static void set_request(struct fetch *f, const char *json, size_t json_len) {
    if (json) {
        curl_easy_setopt(f->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(f->easy, CURLOPT_POSTFIELDS, json);
        curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)json_len);
        add_header(f, "Content-Type", "application/json");
        add_header(f, "Expect", ""); /* libcurl's 100-continue costs a round trip */
    }
    if (*f->options.authorization)
        add_header(f, "Authorization", f->options.authorization);
    curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
}

bool fetch_is_busy(const struct fetch *f) {
    return f->easy != NULL;
}

int fetch_begin(struct fetch *f, const char *json, size_t json_len) {
    f->easy = curl_easy_init();
    f->n_header_bytes = 0;
    f->error[0] = f->too_much[0] = '\0';
    buf_done(&f->body);
    if (f->easy) {
        set_way(f);
        set_answer(f);
        set_request(f, json, json_len);
    }
    if (f->easy && curl_multi_add_handle(f->multi, f->easy) == CURLM_OK)
        return 0;
    end_transfer(f);
    return -ENOMEM;
}

/* ---- the whole ---- */

int fetch_new(struct fetch **ret, const struct fetch_options *options) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    CURLM *multi = curl_multi_init();
    if (!multi) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    struct fetch *f = must_alloc(sizeof(*f));
    *f = (struct fetch){.options = *options, .multi = multi};
    uv_timer_init(options->loop, &f->timer);
    f->timer.data = f;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, f);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, f);
    *ret = f;
    return 0;
}

static void free_when_closed(uv_handle_t *timer) {
    struct fetch *f = timer->data;
    buf_done(&f->body);
    free(f);
}

struct fetch *fetch_free(struct fetch *f) {
    if (!f)
        return NULL;
    end_transfer(f);
    curl_multi_cleanup(f->multi); /* closes what it still has, and so stops our watching it */
    curl_global_cleanup();
    uv_close((uv_handle_t *)&f->timer, free_when_closed);
    return NULL;
}

/* ---- URLs ---- */

static bool has_path(CURLU *url) {
    char *path = NULL;
    bool has = curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK && strcmp(path, "/") != 0;
    curl_free(path);
    return has;
}

static bool is_http(CURLU *url) {
    char *scheme = NULL;
    bool is = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    return is;
}

int fetch_url_with_path(const char *url, const char *path, char **ret) {
    _cleanup_(curl_url_cleanupp) CURLU *parts = curl_url();
    char *whole = NULL;
    if (!parts || curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK || !is_http(parts))
        return -EINVAL;
    if (!has_path(parts) && curl_url_set(parts, CURLUPART_PATH, path, 0) != CURLUE_OK)
        return -EINVAL;
    if (curl_url_get(parts, CURLUPART_URL, &whole, 0) != CURLUE_OK)
        return -EINVAL;
    *ret = must_strdup(whole);
    curl_free(whole);
    return 0;
}
