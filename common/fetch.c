/* HTTP exchanges; see fetch.h. libcurl resolves names in a thread of its own. */
#include "common/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/curl_loop.h"
#include "common/version.h"

#define TIMEOUT_MS 10000L
#define HEADER_BYTES_MAX (64u << 10)

DEFINE_CLEANUP(CURLU *, curl_url_cleanup)

struct fetch {
    struct curl_loop curl;
    struct fetch_options options;
    CURL *easy; /* NULL but while fetching */
    struct curl_slist *headers;
    struct buf body;
    size_t n_header_bytes;
    char error[CURL_ERROR_SIZE];
    char too_much[64]; /* why we broke off; "": we did not */
};

/* ---- what came of it ---- */

static void end_transfer(struct fetch *f) {
    if (!f->easy)
        return;
    curl_multi_remove_handle(f->curl.multi, f->easy);
    curl_easy_cleanup(TAKE_PTR(f->easy));
    curl_slist_free_all(TAKE_PTR(f->headers));
}

static void answer(void *arg, CURL *easy, CURLcode code) {
    struct fetch *f = arg;
    long status = 0;
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after_s);
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
    if (f->easy && curl_multi_add_handle(f->curl.multi, f->easy) == CURLM_OK)
        return 0;
    end_transfer(f);
    return -ENOMEM;
}

/* ---- the whole ---- */

int fetch_new(struct fetch **ret, const struct fetch_options *options) {
    struct fetch *f = must_alloc(sizeof(*f));
    f->options = *options;
    int err = curl_loop_open(&f->curl, options->loop, answer, f);
    if (err) {
        free(f);
        return err;
    }
    *ret = f;
    return 0;
}

static void free_when_closed(uv_handle_t *handle) {
    struct fetch *f = handle->data;
    buf_done(&f->body);
    free(f);
}

struct fetch *fetch_free(struct fetch *f) {
    if (!f)
        return NULL;
    end_transfer(f);
    curl_loop_close(&f->curl, free_when_closed);
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
