/* For the fuzz targets of what runs in a service: the app around it, without its log. */
#pragma once

#include <uv.h>

#include "common/app.h"
#include "common/health.h"
#include "common/log.h"
#include "common/metrics.h"
#include "fuzz_json.h"

/* common/log.c stays out: what a target links of it is here. */
void log_write(struct log *log, enum log_level level, const char *event, const char *msg,
               const struct log_field *fields) {
    (void)log, (void)level;
    must_hold(event[0] && msg[0]);
    for (const struct log_field *f = fields; f->name; f++)
        must_hold(!f->text || strlen(f->text) < SIZE_MAX);
}

static inline void fuzz_app_init(struct app *app, const struct config *config, uv_loop_t *loop) {
    must_hold(uv_loop_init(loop) == 0);
    *app = (struct app){
        .config = config, .loop = loop, .metrics = metrics_new(), .health = health_new()};
}

static inline void fuzz_app_done(struct app *app) {
    must_hold(uv_loop_close(app->loop) == 0);
    metrics_free(app->metrics);
    health_free(app->health);
}

static inline void fuzz_fire_timer(uv_handle_t *handle, void *arg) {
    (void)arg;
    if (handle->type != UV_TIMER || !uv_is_active(handle) || uv_is_closing(handle))
        return;
    uv_timer_t *timer = (uv_timer_t *)handle;
    uv_timer_cb fire = timer->timer_cb;
    uv_timer_stop(timer);
    fire(timer);
}

/* As if the moment had come that each timer waits for. */
static inline void fuzz_pass_time(uv_loop_t *loop) {
    uv_walk(loop, fuzz_fire_timer, NULL);
}
