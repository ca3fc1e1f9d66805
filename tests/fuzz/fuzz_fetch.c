/* What an identity provider, a collector of traces, or one of our own services answers by HTTP.
 * libcurl is played here. The first byte chooses who is asked; then the exchanges, 0xff between: a
 * byte of what goes wrong, a status (3 digits), Retry-After (2), a line, which is a header, and the
 * body. Each exchange has one outcome, and what is taken of it is within its bounds. */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

#include "common/jwks.h"
#include "common/jwks_fetch.h"
#include "common/jwks_parse.h"
#include "common/trace_export.h"
#include "fuzz_app.h"
#include "tools/handoff/web.h"

#define MAX_EXCHANGES 12

enum trouble {
    BY_DESCRIPTOR = 1, /* the answer comes by one that is watched, not at once */
    FAILS = 2,
    MANY_HEADERS = 4,
    LARGE = 8,
    NO_HANDLE = 16,
    NO_ROOM = 32,
    SAYS_WHY = 64,
};

struct easy {
    curl_write_callback write, header;
    void *write_arg, *header_arg, *private;
    char *error;
    int fd; /* watched; -1: none */
    void *of_fd;
    bool is_added, is_done;
    CURLcode code;
    long status;
    curl_off_t retry_after;
};

static struct {
    const uint8_t *at, *end; /* of the input: the next exchange */
    curl_socket_callback on_socket;
    curl_multi_timer_callback on_timer;
    void *socket_arg, *timer_arg;
    struct easy *easy; /* one at a time */
    CURLMsg message;
    size_t n_begun, n_told;
    unsigned next; /* trouble of the next exchange */
    bool has_answered;
} world;

/* ---- libcurl ---- */

CURLcode curl_global_init(long flags) {
    (void)flags;
    return CURLE_OK;
}

void curl_global_cleanup(void) {
}

CURLM *curl_multi_init(void) {
    return (CURLM *)&world;
}

CURLMcode curl_multi_cleanup(CURLM *multi) {
    must_hold(multi == (CURLM *)&world && !world.easy);
    return CURLM_OK;
}

CURLMcode curl_multi_setopt(CURLM *multi, CURLMoption option, ...) {
    va_list args;
    (void)multi;
    va_start(args, option);
    if (option == CURLMOPT_SOCKETFUNCTION)
        world.on_socket = va_arg(args, curl_socket_callback);
    else if (option == CURLMOPT_SOCKETDATA)
        world.socket_arg = va_arg(args, void *);
    else if (option == CURLMOPT_TIMERFUNCTION)
        world.on_timer = va_arg(args, curl_multi_timer_callback);
    else if (option == CURLMOPT_TIMERDATA)
        world.timer_arg = va_arg(args, void *);
    va_end(args);
    return CURLM_OK;
}

CURLMcode curl_multi_assign(CURLM *multi, curl_socket_t fd, void *arg) {
    (void)multi;
    must_hold(world.easy && world.easy->fd == fd);
    world.easy->of_fd = arg;
    return CURLM_OK;
}

CURL *curl_easy_init(void) {
    world.next = world.at < world.end ? *world.at++ : 0;
    if (world.next & NO_HANDLE)
        return NULL;
    must_hold(!world.easy);
    world.easy = must_alloc(sizeof(*world.easy));
    world.easy->fd = -1;
    return (CURL *)world.easy;
}

void curl_easy_cleanup(CURL *easy) {
    must_hold(!easy || (easy == (CURL *)world.easy && !world.easy->is_added));
    free(TAKE_PTR(world.easy));
}

CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...) {
    struct easy *e = (struct easy *)easy;
    va_list args;
    va_start(args, option);
    if (option == CURLOPT_WRITEFUNCTION)
        e->write = va_arg(args, curl_write_callback);
    else if (option == CURLOPT_WRITEDATA)
        e->write_arg = va_arg(args, void *);
    else if (option == CURLOPT_HEADERFUNCTION)
        e->header = va_arg(args, curl_write_callback);
    else if (option == CURLOPT_HEADERDATA)
        e->header_arg = va_arg(args, void *);
    else if (option == CURLOPT_PRIVATE)
        e->private = va_arg(args, void *);
    else if (option == CURLOPT_ERRORBUFFER)
        e->error = va_arg(args, char *);
    va_end(args);
    return CURLE_OK;
}

CURLcode curl_easy_getinfo(CURL *easy, CURLINFO info, ...) {
    const struct easy *e = (const struct easy *)easy;
    va_list args;
    va_start(args, info);
    if (info == CURLINFO_RESPONSE_CODE)
        *va_arg(args, long *) = e->status;
    else if (info == CURLINFO_RETRY_AFTER)
        *va_arg(args, curl_off_t *) = e->retry_after;
    else if (info == CURLINFO_PRIVATE)
        *va_arg(args, void **) = e->private;
    va_end(args);
    return CURLE_OK;
}

CURLMcode curl_multi_add_handle(CURLM *multi, CURL *easy) {
    must_hold(easy == (CURL *)world.easy);
    if (world.next & NO_ROOM)
        return CURLM_OUT_OF_MEMORY;
    world.easy->is_added = true;
    world.n_begun++;
    if (world.next & BY_DESCRIPTOR) {
        world.easy->fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
        must_hold(world.easy->fd >= 0);
        world.on_socket(easy, world.easy->fd, CURL_POLL_IN, world.socket_arg, NULL);
        world.on_socket(easy, world.easy->fd, CURL_POLL_INOUT, world.socket_arg, world.easy->of_fd);
        world.on_timer(multi, -1, world.timer_arg);
    } else {
        world.on_timer(multi, 0, world.timer_arg);
    }
    return CURLM_OK;
}

CURLMcode curl_multi_remove_handle(CURLM *multi, CURL *easy) {
    struct easy *e = (struct easy *)easy;
    (void)multi;
    if (e->fd >= 0) {
        world.on_socket(easy, e->fd, CURL_POLL_REMOVE, world.socket_arg, e->of_fd);
        close(e->fd);
        e->fd = -1;
    }
    e->is_added = false;
    return CURLM_OK;
}

static long number(size_t n_digits) {
    long n = 0;
    for (size_t i = 0; i < n_digits && world.at < world.end; i++)
        n = n * 10 + (uint8_t)(*world.at++ - '0') % 10;
    return n;
}

static bool give(curl_write_callback to, void *arg, const void *bytes, size_t n, size_t times) {
    for (size_t i = 0; i < times; i++)
        if (to && n && to((char *)(uintptr_t)bytes, 1, n, arg) != n)
            return false;
    return true;
}

/* What is left of the exchange: a line, and the body in two pieces. */
static bool tell(const struct easy *e) {
    const uint8_t *from = world.at, *stop = memchr(from, 0xff, (size_t)(world.end - from));
    stop = stop ? stop : world.end;
    world.at = stop < world.end ? stop + 1 : world.end;
    const uint8_t *line = memchr(from, '\n', (size_t)(stop - from));
    const uint8_t *body = line ? line + 1 : from;
    size_t n_body = (size_t)(stop - body);
    return give(e->header, e->header_arg, from, (size_t)(body - from),
                world.next & MANY_HEADERS ? 4096 : 1) &&
           give(e->write, e->write_arg, body, n_body / 2, 1) &&
           give(e->write, e->write_arg, body + n_body / 2, n_body - n_body / 2,
                world.next & LARGE ? 4096 : 1);
}

CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int events, int *ret_running) {
    struct easy *e = world.easy;
    (void)multi, (void)fd, (void)events;
    *ret_running = 0;
    if (!e || !e->is_added || e->is_done)
        return CURLM_OK;
    e->status = number(3);
    e->retry_after = number(2);
    e->code = tell(e) ? CURLE_OK : CURLE_WRITE_ERROR;
    if (world.next & FAILS)
        e->code = world.next & SAYS_WHY ? CURLE_SSL_CONNECT_ERROR : CURLE_COULDNT_CONNECT;
    if ((world.next & SAYS_WHY) && e->code)
        strcpy(e->error, "it was said why");
    e->is_done = true;
    world.message =
        (CURLMsg){.msg = CURLMSG_DONE, .easy_handle = (CURL *)e, .data.result = e->code};
    world.has_answered = true;
    return CURLM_OK;
}

CURLMsg *curl_multi_info_read(CURLM *multi, int *ret_left) {
    (void)multi;
    *ret_left = 0;
    bool has = world.has_answered;
    world.has_answered = false;
    return has ? &world.message : NULL;
}

/* ---- who asks ---- */

static bool may_go_on(size_t turn) {
    return turn < 4 * MAX_EXCHANGES && (world.at < world.end || world.easy);
}

static void wind_up(struct app *app) {
    for (int i = 0; i < 100 && uv_run(app->loop, UV_RUN_NOWAIT); i++)
        fuzz_pass_time(app->loop);
    fuzz_app_done(app);
}

static void check_keys(const struct jwks *j) {
    must_hold(jwks_n_keys(j) <= JWKS_KEYS_MAX && (jwks_is_loaded(j) || jwks_n_keys(j) == 0));
    must_hold(!jwks_only(j) || jwks_n_keys(j) == 1);
}

static void fetch_keys(struct app *app) {
    struct jwks *j = jwks_new(3600000);
    struct jwks_fetch *f = NULL;
    must_hold(jwks_fetch_new(&f, app, NULL) == 0 && !f);
    jwks_fetch_demand(NULL);
    must_hold(jwks_fetch_new(&f, app, j) == 0);
    for (size_t i = 0; may_go_on(i); i++) {
        uv_run(app->loop, UV_RUN_NOWAIT);
        check_keys(j);
        if (i % 4 == 3)
            must_hold(jwks_miss(j) >= 0);
        if (i % 4 == 1)
            jwks_fetch_demand(f);
        else if (!world.easy)
            fuzz_pass_time(app->loop);
    }
    jwks_fetch_free(f);
    jwks_fetch_free(NULL);
    must_hold(jwks_miss(j) == 0);
    jwks_free(j);
}

static void export_steps(struct app *app) {
    struct trace_export *e = NULL;
    struct span step = {.kind = SPAN_SERVER, .name = "GET /x", .n_attributes = 2};
    step.attributes[0] = (struct span_attribute){SPAN_METHOD, (char[]){"GET"}, 0};
    step.attributes[1] = (struct span_attribute){SPAN_STATUS, NULL, 200};
    must_hold(trace_export_new(&e, app) == 0 && e);
    for (size_t i = 0; may_go_on(i); i++) {
        trace_export_add(e, &step);
        uv_run(app->loop, UV_RUN_NOWAIT);
        if (!world.easy || !world.easy->is_added)
            fuzz_pass_time(app->loop);
    }
    trace_export_add(e, &step);
    trace_export_free(e);
}

static void on_answer(void *arg, const struct web_answer *answer) {
    (void)arg;
    must_hold(strlen(answer->body) <= answer->body_len && answer->body_len <= 1 << 20);
    must_hold((answer->status == 0) == (answer->why[0] != '\0') || !answer->why[0]);
    must_hold(!answer->is_nobody || answer->status == 0);
    world.n_told++;
}

static void ask_service(struct app *app) {
    struct web_options options = {.url = "no", .token = "t", .ca_file = "ca.pem"};
    static const struct web_request request = {
        .method = "POST", .path = "/sessions", .type = "application/json", .body = "{}"};
    struct web *w = web_free(NULL);
    must_hold(web_new(&w, app->loop, &options) == -EINVAL && !w);
    options.url = "http://h:1";
    must_hold(web_new(&w, app->loop, &options) == 0);
    while (world.at < world.end && !(*world.at & (NO_HANDLE | NO_ROOM))) {
        size_t n = world.n_told;
        web_ask(w, &request, on_answer, NULL);
        for (int i = 0; i < 8 && world.n_told == n; i++)
            uv_run(app->loop, UV_RUN_NOWAIT);
        must_hold(world.n_told == n + 1 && web_n_waiting(w) == 0);
    }
    web_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const askers[])(struct app * app) = {fetch_keys, export_steps, ask_service};
    const struct config config = {.jwks_url = (char[]){"http://127.0.0.1:1/k"},
                                  .jwks_ca_file = (char[]){"ca.pem"},
                                  .jwt_issuer = (char[]){""},
                                  .jwt_audience = (char[]){""},
                                  .service_name = "session_api",
                                  .instance = (char[]){"i"},
                                  .otlp_url = (char[]){"http://127.0.0.1:1"},
                                  .otlp_authorization = (char[]){"Bearer x"}};
    uv_loop_t loop;
    struct app app;
    if (size < 1 || size > 60000)
        return 0;
    memset(&world, 0, sizeof(world));
    world.at = data + 1;
    world.end = data + size;
    fuzz_app_init(&app, &config, &loop);
    askers[data[0] % N_ELEMENTS(askers)](&app);
    wind_up(&app);
    must_hold(!world.easy);
    return 0;
}
