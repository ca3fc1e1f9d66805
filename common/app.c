/* The frame of every service; see app.h. The order of a life: configuration, log, loop, admin port,
 * the service's parts; a signal; drain; stop; the loop until the last handle is gone. */
#include "common/app.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "common/app_admin.h"
#include "common/app_check.h"
#include "common/app_reload.h"
#include "common/config_table.h"
#include "common/http_probe.h"
#include "common/version.h"

#define MAX_FILES (1u << 20)
#define GRACE_MS 3500u /* a handshake with a silent broker gives up after 3 s */
#define LOOK_MS 100u

enum app_state {
    APP_STARTING, /* -> running, stopped */
    APP_RUNNING,  /* -> draining, by a signal */
    APP_DELAYING, /* -> draining, after a while or by another signal */
    APP_DRAINING, /* -> stopped, by app_drained or the timeout */
    APP_STOPPED,  /* handles are closing */
};

struct runner {
    struct app app; /* first: app_drained gets from it to the runner */
    const struct app_spec *spec;
    void *self; /* the service's own */
    enum app_state state;
    bool handles_left, work_left, part_failed;
    uv_loop_t loop;
    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t timer; /* delaying: its end; draining: its deadline, or 0 when drained; stopped: the
                         guard */
    uint64_t drain_end_ms, stopped_ms; /* uv_now; 0: not yet */
    struct admin *admin;
    struct app_reload reload;
    uv_work_t first_work;
};

static void look_at_handle(uv_handle_t *handle, void *arg) {
    struct runner *r = arg;
    if (handle->data != r && !uv_is_closing(handle))
        r->handles_left = true;
}

/* Without a handle it is work in libuv's threads that holds the loop: looking up a name may take as
 * long as the resolver likes, and cannot be broken off. It is not waited for when the time to drain
 * is over. */
static void on_look(uv_timer_t *timer) {
    struct runner *r = timer->data;
    uint64_t now = uv_now(&r->loop);
    bool is_grace_over = now - r->stopped_ms >= GRACE_MS;
    r->handles_left = false;
    uv_walk(&r->loop, look_at_handle, r);
    r->work_left = !r->handles_left && (is_grace_over || now >= r->drain_end_ms);
    r->handles_left &= is_grace_over;
    if (r->handles_left || r->work_left)
        uv_stop(&r->loop);
}

/* Closes everything but, unreferenced: the timer, which guards against a part that forgot a handle
 * and would keep the process from its end; the signals, so that a second one does not kill it. */
static void stop(struct runner *r) {
    r->state = APP_STOPPED;
    if (r->self)
        r->spec->stop(r->self);
    r->self = NULL;
    r->admin = admin_free(r->admin);
    r->app.tracer = tracer_free(r->app.tracer);
    uv_unref((uv_handle_t *)&r->sigterm);
    uv_unref((uv_handle_t *)&r->sigint);
    uv_unref((uv_handle_t *)&r->sighup);
    r->stopped_ms = uv_now(&r->loop);
    uv_timer_start(&r->timer, on_look, LOOK_MS, LOOK_MS);
    uv_unref((uv_handle_t *)&r->timer);
}

static void on_drain_timeout(uv_timer_t *timer) {
    struct runner *r = timer->data;
    log_warn(r->app.log, "drain_timeout", "Work in hand was not finished in time.");
    stop(r);
}

static void on_drained(uv_timer_t *timer) {
    stop(timer->data);
}

void app_drained(struct app *app) {
    struct runner *r = (struct runner *)app;
    /* Not at once: the caller still stands on what stop frees. */
    if (r->state == APP_DRAINING)
        uv_timer_start(&r->timer, on_drained, 0, 0);
}

static void limit_drain(struct runner *r) {
    uint64_t ms = (uint64_t)(r->app.config->drain_timeout_ms + r->app.drain_spread_ms);
    r->drain_end_ms = uv_now(&r->loop) + ms;
    uv_timer_start(&r->timer, on_drain_timeout, ms, 0);
}

static void take_no_more(struct runner *r) {
    r->state = APP_DRAINING;
    limit_drain(r);
    r->spec->drain(r->self);
}

static void on_delay_over(uv_timer_t *timer) {
    take_no_more(timer->data);
}

void app_drain(struct app *app, int64_t spread_ms, const char *by) {
    struct runner *r = (struct runner *)app;
    if (r->state != APP_RUNNING)
        return;
    app->drain_spread_ms = spread_ms;
    log_info(app->log, "draining", "No new work is taken; what is in hand gets finished.",
             LOG_TEXT("signal", by), LOG_NUMBER("delayMs", app->config->drain_delay_ms));
    health_drain(app->health);
    if (app->config->drain_delay_ms && !r->part_failed) {
        r->state = APP_DELAYING;
        uv_timer_start(&r->timer, on_delay_over, (uint64_t)app->config->drain_delay_ms, 0);
    } else {
        take_no_more(r);
    }
}

bool app_can_rebalance(const struct app *app) {
    return ((const struct runner *)app)->spec->rebalance != NULL;
}

bool app_rebalance(struct app *app, int64_t spread_ms) {
    const struct runner *r = (struct runner *)app;
    if (r->state != APP_RUNNING)
        return false;
    r->spec->rebalance(r->self, spread_ms);
    return true;
}

void app_fail(struct app *app) {
    struct runner *r = (struct runner *)app;
    r->part_failed = true;
    app_drain(app, 0, "none");
}

/* Whoever sends a signal does not wait for those that are sent away little by little. */
static void on_signal(uv_signal_t *handle, int number) {
    struct runner *r = handle->data;
    if (r->state == APP_DELAYING) {
        r->app.drain_spread_ms = 0;
        take_no_more(r);
    } else if (r->state == APP_DRAINING && r->app.drain_spread_ms) {
        r->app.drain_spread_ms = 0;
        limit_drain(r);
    }
    app_drain(&r->app, 0, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_hangup(uv_signal_t *handle, int number) {
    struct runner *r = handle->data;
    (void)number;
    if (r->state == APP_RUNNING)
        app_reload_run(&r->reload, r->spec->reload, r->self);
}

/* At most 1 Mi: libraries size tables by the limit, and some hosts have it at 2^30. */
static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    rlim_t wanted = limit.rlim_max < MAX_FILES ? limit.rlim_max : MAX_FILES;
    if (limit.rlim_cur == wanted)
        return;
    limit.rlim_cur = wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void runner_init(struct runner *r, const struct app_spec *spec, struct config *config) {
    enum log_level least = LOG_LEVEL_INFO;
    (void)log_level_parse(config->log_level, &least); /* checked as it was loaded */
    *r = (struct runner){.spec = spec};
    if (uv_loop_init(&r->loop) < 0)
        abort(); /* no memory or no descriptors before anything began */
    r->app = (struct app){
        .config = config,
        .loop = &r->loop,
        .log = log_new(config->service_name, config->instance, least, config->log_format),
        .metrics = metrics_new(),
        .health = health_new(),
    };
    uv_signal_init(&r->loop, &r->sigterm);
    uv_signal_init(&r->loop, &r->sigint);
    uv_signal_init(&r->loop, &r->sighup);
    uv_timer_init(&r->loop, &r->timer);
    r->sigterm.data = r->sigint.data = r->sighup.data = r->timer.data = r;
    uv_signal_start(&r->sigterm, on_signal, SIGTERM);
    uv_signal_start(&r->sigint, on_signal, SIGINT);
    uv_signal_start(&r->sighup, on_hangup, SIGHUP);
    app_reload_init(&r->reload, &r->app, config);
}

static void block_signals(int how) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(how, &set, NULL);
}

static void do_nothing(uv_work_t *work) {
    (void)work;
}

static void on_nothing_done(uv_work_t *work, int status) {
    (void)work;
    (void)status;
}

/* libuv makes its threads with the first work, and they block what their maker blocks: a signal
 * is for the loop's thread alone, which at the end blocks it, too. */
static void make_threads(struct runner *r) {
    block_signals(SIG_BLOCK);
    uv_queue_work(&r->loop, &r->first_work, do_nothing, on_nothing_done);
    block_signals(SIG_UNBLOCK);
}

static void log_started(const struct runner *r) {
    const struct config *c = r->app.config;
    bool listens = c->service & (CONFIG_SESSION_API | CONFIG_WS_FANOUT);
    const struct log_field fields[] = {
        LOG_TEXT("version", HANDOFF_VERSION),
        LOG_NUMBER("pid", getpid()),
        LOG_TEXT("admin", c->admin_listen),
        {listens ? "listen" : NULL, c->listen, 0},
        {NULL, NULL, 0},
    };
    log_write(r->app.log, LOG_LEVEL_INFO, "started", "The service runs.", fields);
}

static int start(struct runner *r) {
    int error = tracer_new(&r->app.tracer, &r->app);
    if (error == 0)
        error = admin_new(&r->admin, &r->app);
    if (error == 0)
        error = r->spec->start(&r->app, &r->self);
    if (error < 0) {
        log_error(r->app.log, "start_failed", "The service cannot start.",
                  LOG_TEXT("err", strerror(-error)));
        stop(r);
        return error;
    }
    r->state = APP_RUNNING;
    log_started(r);
    return 0;
}

static void runner_done(struct runner *r) {
    block_signals(SIG_BLOCK); /* closing the handles brings back the default action */
    uv_close((uv_handle_t *)&r->sigterm, NULL);
    uv_close((uv_handle_t *)&r->sigint, NULL);
    uv_close((uv_handle_t *)&r->sighup, NULL);
    uv_close((uv_handle_t *)&r->timer, NULL);
    uv_run(&r->loop, UV_RUN_NOWAIT);
    if (uv_loop_close(&r->loop) < 0 && !r->work_left)
        log_error(r->app.log, "handles_left", "Handles were still open at the end.");
    health_free(r->app.health);
    metrics_free(r->app.metrics);
    log_free(r->app.log);
}

static int run(const struct app_spec *spec, struct config *config) {
    struct runner r;
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    runner_init(&r, spec, config);
    make_threads(&r);
    int error = start(&r);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    bool failed = error < 0 || r.handles_left || r.part_failed;
    if (!error)
        log_info(r.app.log, "stopped", "The service has ended.");
    runner_done(&r);
    int code = failed ? EXIT_FAILURE : EXIT_SUCCESS;
    /* At once: returning would take the loop from under a thread that still comes back to it, and
     * libuv would wait for that thread first. */
    if (r.handles_left || r.work_left)
        _exit(code);
    return code;
}

enum wish {
    WISH_RUN,
    WISH_HELP,
    WISH_VERSION,
    WISH_CHECK,
    WISH_READY,
    WISH_MARKDOWN,
    WISH_UNKNOWN
};

static enum wish parse_arguments(int argc, char **argv) {
    static const struct {
        const char *name;
        enum wish wish;
    } options[] = {{"--help", WISH_HELP},       {"-h", WISH_HELP},
                   {"--version", WISH_VERSION}, {"--check-config", WISH_CHECK},
                   {"--is-ready", WISH_READY},  {"--config-markdown", WISH_MARKDOWN}};
    if (argc < 2)
        return WISH_RUN;
    for (size_t i = 0; argc == 2 && i < N_ELEMENTS(options); i++)
        if (strcmp(argv[1], options[i].name) == 0)
            return options[i].wish;
    return WISH_UNKNOWN;
}

static int ask_ready(const struct config *config) {
    int r = http_probe(config->admin_listen);
    if (r < 0)
        fprintf(stderr, "%s: %s at %s: %s\n", config->service_name,
                r == -EAGAIN ? "not ready" : "no answer", config->admin_listen,
                r == -EAGAIN ? "/ready says what it waits for" : strerror(-r));
    return r < 0 ? 1 : 0;
}

static int configure_and_run(const struct app_spec *spec, enum wish wish) {
    struct config config = {0};
    const char *const *environment = (const char *const *)environ;
    if (config_load(spec->service, environment, &config, stderr) < 0)
        return 2;
    int code = 2;
    struct auth *keys = NULL;
    if (app_check(&config, &keys, stderr) == 0) {
        auth_free(keys); /* identity.c reads them for good */
        code = 0;
        if (wish == WISH_CHECK)
            config_print_values(&config, environment, stdout);
        else
            code = wish == WISH_READY ? ask_ready(&config) : run(spec, &config);
    }
    config_done(&config);
    return code;
}

int app_main(const struct app_spec *spec, int argc, char **argv) {
    json_set_alloc_funcs(must_malloc, free); /* first: what it allocated before, free takes too */
    json_object_seed(0);
    enum wish wish = parse_arguments(argc, argv);
    switch (wish) {
    case WISH_HELP:
        config_print_help(spec->service, stdout);
        return 0;
    case WISH_VERSION:
        printf("%s %s\n", config_service_name(spec->service), HANDOFF_VERSION);
        return 0;
    case WISH_MARKDOWN:
        config_print_markdown(stdout);
        return 0;
    case WISH_UNKNOWN:
        break;
    default:
        return configure_and_run(spec, wish);
    }
    fprintf(stderr,
            "%s: bad argument \"%.100s\"; allowed: one of --help, --version, --check-config, "
            "--is-ready, or none\n",
            config_service_name(spec->service), argv[argc > 2 ? 2 : 1]);
    return 2;
}
