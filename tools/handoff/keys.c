/* See keys.h. The identity provider is asked by the services' own code, with its bounds. */
#include "tools/handoff/keys.h"

#include <errno.h>
#include <stdio.h>
#include <uv.h>

#include "base/buf.h"
#include "common/app.h"
#include "common/jwks.h"
#include "common/jwks_fetch.h"
#include "common/jwks_url.h"

#define PATIENCE_MS 12000 /* a fetch itself ends after 10 s */
#define LOOK_MS 20

struct fetching {
    uv_loop_t loop;
    uv_timer_t timer;
    struct jwks *jwks;
    struct jwks_fetch *fetch;
    uint64_t n_left; /* looks */
};

int keys_load(struct auth **ret, const struct config *config, char **ret_error) {
    if (*config->jwks_url && jwks_url_check(config->jwks_url, config->jwks_ca_file, ret_error) < 0)
        return -EINVAL;
    return auth_new(ret, config, ret_error);
}

/* The first fetch is over when there are keys, or when the next one is due some time. */
static bool is_over(struct fetching *f) {
    int64_t due_ms = jwks_due_ms(f->jwks);
    return jwks_is_loaded(f->jwks) || f->n_left-- == 0 ||
           (due_ms != INT64_MAX && due_ms > (int64_t)uv_now(&f->loop));
}

static void on_look(uv_timer_t *timer) {
    struct fetching *f = timer->data;
    if (!is_over(f))
        return;
    f->fetch = jwks_fetch_free(f->fetch);
    uv_close((uv_handle_t *)timer, NULL);
}

static void run(struct fetching *f, struct app *app) {
    uv_timer_init(&f->loop, &f->timer);
    f->timer.data = f;
    uv_timer_start(&f->timer, on_look, LOOK_MS, LOOK_MS);
    if (jwks_fetch_new(&f->fetch, app, f->jwks) < 0)
        uv_close((uv_handle_t *)&f->timer, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

int keys_fetch(struct auth *auth, const struct config *config, char **ret_error) {
    struct fetching f = {.jwks = auth_jwks(auth), .n_left = PATIENCE_MS / LOOK_MS};
    if (!f.jwks)
        return 0;
    if (uv_loop_init(&f.loop) < 0) {
        *ret_error = must_strdup("out of memory");
        return -ENOTCONN;
    }
    struct app app = {.config = config,
                      .loop = &f.loop,
                      .log = log_new("handoff", "handoff", LOG_LEVEL_ERROR, config->log_format),
                      .metrics = metrics_new(),
                      .health = health_new()};
    run(&f, &app);
    struct buf told = BUF_NULL;
    health_print(app.health, &told);
    uv_loop_close(&f.loop);
    health_free(app.health);
    metrics_free(app.metrics);
    log_free(app.log);
    if (jwks_is_loaded(f.jwks)) {
        buf_done(&told);
        return 0;
    }
    *ret_error = buf_take(&told);
    return -ENOTCONN;
}
