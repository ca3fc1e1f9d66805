/* Fetching keys; see jwks_fetch.h. What the provider sends is bounded in bytes and in time, no
 * redirect is followed, nothing is unpacked, and no connection stays. libcurl resolves names in a
 * thread of its own. */
#include "common/jwks_fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/timestamp.h"
#include "common/jwks_url.h"
#include "common/version.h"

#define TIMEOUT_MS 10000L
#define HEADER_BYTES_MAX (64u << 10)

struct jwks_fetch {
    struct app *app;
    struct jwks *jwks;
    CURLM *multi;
    CURL *easy; /* NULL but while fetching */
    struct buf body;
    size_t n_header_bytes;
    char error[CURL_ERROR_SIZE];
    const char *too_much; /* why we broke off; static, or NULL */
    uv_timer_t schedule;  /* the next fetch */
    uv_timer_t timer;     /* libcurl's */
    size_t n_timers;      /* not closed yet; the last one frees this */
    struct health_dependency *health;
    struct metric *keys_metric, *fetched_metric, *succeeded_metric, *failed_metric;
};

/* ---- what came of it ---- */

static void arm(struct jwks_fetch *f);

static void log_ignored(const struct jwks_fetch *f, const struct jwks_set *set) {
    for (size_t i = 0; i < set->n_ignored; i++)
        log_info(f->app->log, "jwks_key_ignored", "A key of the identity provider is not used.",
                 LOG_TEXT("kid", set->ignored[i].kid), LOG_TEXT("detail", set->ignored[i].why));
}

static void succeed(struct jwks_fetch *f, struct jwks_set *set) {
    int64_t n_ignored = (int64_t)set->n_ignored;
    bool has_changed = jwks_succeed(f->jwks, (int64_t)uv_now(f->app->loop), set);
    int64_t n_keys = (int64_t)jwks_n_keys(f->jwks);
    metric_add(f->succeeded_metric, 1);
    metric_set(f->keys_metric, (double)n_keys);
    metric_set(f->fetched_metric, (double)timestamp_wall_ms() / 1000);
    health_report(f->health, f->app->log, true, "");
    if (!has_changed)
        return;
    log_ignored(f, set);
    log_info(f->app->log, "jwks_changed", "The identity provider's keys are others than before.",
             LOG_NUMBER("keys", n_keys), LOG_NUMBER("ignored", n_ignored));
}

static void fail(struct jwks_fetch *f, const char *why) {
    jwks_fail(f->jwks, (int64_t)uv_now(f->app->loop));
    metric_add(f->failed_metric, 1);
    health_report(f->health, f->app->log, false, why);
}

static void take_answer(struct jwks_fetch *f, CURLcode code) {
    struct jwks_set set = {0};
    struct buf why = BUF_NULL;
    const char *refused = NULL;
    long status = 0;
    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK)
        buf_puts(&why, f->too_much   ? f->too_much
                       : f->error[0] ? f->error
                                     : curl_easy_strerror(code));
    else if (status != 200)
        buf_printf(&why, "the answer has status %ld%s", status,
                   status / 100 == 3 ? ", and redirects are not followed" : "");
    else if (jwks_parse(f->body.data ? f->body.data : "", f->body.len, &set, &refused) < 0)
        buf_puts(&why, refused);
    if (why.len)
        fail(f, why.data);
    else
        succeed(f, &set);
    buf_done(&why);
    jwks_set_done(&set);
}

static void end_transfer(struct jwks_fetch *f) {
    if (!f->easy)
        return;
    curl_multi_remove_handle(f->multi, f->easy);
    curl_easy_cleanup(TAKE_PTR(f->easy));
    buf_done(&f->body);
}

/* ---- libcurl in the loop ---- */

static void check_done(struct jwks_fetch *f) {
    int n_left;
    for (CURLMsg *m; (m = curl_multi_info_read(f->multi, &n_left));)
        if (m->msg == CURLMSG_DONE) {
            take_answer(f, m->data.result);
            end_transfer(f);
            arm(f);
            return;
        }
}

/* A thread that libcurl makes on the way blocks all signals: they are for the loop's own (app.c).
 */
static void act(struct jwks_fetch *f, curl_socket_t fd, int events) {
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
    struct jwks_fetch *f = arg;
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

static struct watched *watch(struct jwks_fetch *f, curl_socket_t fd) {
    struct watched *w = must_alloc(sizeof(*w));
    w->fd = fd;
    if (uv_poll_init(f->app->loop, &w->poll, fd) < 0) {
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
    struct jwks_fetch *f = arg;
    if (f->body.len + size * n > JWKS_BYTES_MAX) {
        f->too_much = "the answer has over 256 KiB";
        return 0;
    }
    buf_put(&f->body, data, size * n);
    return size * n;
}

/* libcurl keeps them all. */
static size_t on_header(char *data, size_t size, size_t n, void *arg) {
    struct jwks_fetch *f = arg;
    (void)data;
    f->n_header_bytes += size * n;
    if (f->n_header_bytes <= HEADER_BYTES_MAX)
        return size * n;
    f->too_much = "the answer's headers have over 64 KiB";
    return 0;
}

static void set_options(struct jwks_fetch *f) {
    const struct config *c = f->app->config;
    CURL *e = f->easy;
    curl_easy_setopt(e, CURLOPT_URL, c->jwks_url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https"); /* which of them: jwks_url.c */
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (*c->jwks_ca_file) {
        curl_easy_setopt(e, CURLOPT_CAINFO, c->jwks_ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    if (jwks_url_is_loopback(c->jwks_url))
        curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "handoff/" HANDOFF_VERSION);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* else a name server that is silent blocks us */
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, f);
}

static void begin(uv_timer_t *schedule) {
    struct jwks_fetch *f = schedule->data;
    jwks_begin(f->jwks);
    f->easy = curl_easy_init();
    f->n_header_bytes = 0;
    f->error[0] = '\0';
    f->too_much = NULL;
    if (f->easy)
        set_options(f);
    if (!f->easy || curl_multi_add_handle(f->multi, f->easy) != CURLM_OK) {
        end_transfer(f);
        fail(f, "libcurl has no memory");
        arm(f);
    }
}

static void arm(struct jwks_fetch *f) {
    int64_t due = jwks_due_ms(f->jwks), now = (int64_t)uv_now(f->app->loop);
    if (due != INT64_MAX)
        uv_timer_start(&f->schedule, begin, due > now ? (uint64_t)(due - now) : 0, 0);
}

static int64_t on_miss(void *arg) {
    struct jwks_fetch *f = arg;
    int64_t wait_ms = jwks_miss_at(f->jwks, (int64_t)uv_now(f->app->loop));
    arm(f);
    return wait_ms;
}

void jwks_fetch_demand(struct jwks_fetch *f) {
    if (!f)
        return;
    jwks_demand(f->jwks, (int64_t)uv_now(f->app->loop));
    arm(f);
}

/* ---- the whole ---- */

static void make_metrics(struct jwks_fetch *f) {
    static const char name[] = "handoff_jwks_fetches_total";
    static const char help[] = "Fetches of the identity provider's keys.";
    struct metrics *m = f->app->metrics;
    f->keys_metric =
        metrics_gauge(m, "handoff_jwks_keys", NULL, "Keys of the identity provider in use.");
    f->fetched_metric = metrics_gauge(m, "handoff_jwks_fetched_timestamp_seconds", NULL,
                                      "Unix time of the last fetch that succeeded; 0: none did.");
    f->succeeded_metric = metrics_counter(m, name, "result=\"ok\"", help);
    f->failed_metric = metrics_counter(m, name, "result=\"failed\"", help);
}

static void warn_of_anybody(const struct app *app) {
    if (!*app->config->jwt_issuer || !*app->config->jwt_audience)
        log_warn(app->log, "jwks_unbound",
                 "Tokens that the identity provider made for others are taken, too.",
                 LOG_TEXT("hint", "Set HANDOFF_JWT_ISSUER and HANDOFF_JWT_AUDIENCE."));
}

static void init_timer(struct jwks_fetch *f, uv_timer_t *timer) {
    uv_timer_init(f->app->loop, timer);
    timer->data = f;
    f->n_timers++;
}

int jwks_fetch_new(struct jwks_fetch **ret, struct app *app, struct jwks *jwks) {
    *ret = NULL;
    if (!jwks)
        return 0;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    CURLM *multi = curl_multi_init();
    if (!multi) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    struct jwks_fetch *f = must_alloc(sizeof(*f));
    *f = (struct jwks_fetch){.app = app, .jwks = jwks, .multi = multi};
    init_timer(f, &f->schedule);
    init_timer(f, &f->timer);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, f);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, f);
    f->health = health_add(app->health, "identity_provider");
    make_metrics(f);
    warn_of_anybody(app);
    jwks_on_miss(jwks, on_miss, f);
    arm(f);
    *ret = f;
    return 0;
}

static void free_when_closed(uv_handle_t *timer) {
    struct jwks_fetch *f = timer->data;
    if (--f->n_timers == 0)
        free(f);
}

struct jwks_fetch *jwks_fetch_free(struct jwks_fetch *f) {
    if (!f)
        return NULL;
    jwks_on_miss(f->jwks, NULL, NULL);
    end_transfer(f);
    curl_multi_cleanup(f->multi); /* closes what it still has, and so stops our watching it */
    curl_global_cleanup();
    uv_close((uv_handle_t *)&f->schedule, free_when_closed);
    uv_close((uv_handle_t *)&f->timer, free_when_closed);
    return NULL;
}
