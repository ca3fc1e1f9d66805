/* SIGHUP; see app_reload.h. Files are small and few, and read as at the start: the loop waits for
 * them. */
#include "common/app_reload.h"

#include <string.h>
#include <unistd.h>

#include "common/app_check.h"
#include "common/config_reload.h"

void app_reload_init(struct app_reload *r, struct app *app, struct config *config) {
    static const char name[] = "handoff_reloads_total";
    static const char help[] = "Times that settings were read again, by what became of them.";
    *r = (struct app_reload){.app = app, .config = config};
    r->taken = metrics_counter(app->metrics, name, "result=\"taken\"", help);
    r->refused = metrics_counter(app->metrics, name, "result=\"refused\"", help);
}

struct reading {
    struct config fresh;
    struct auth *keys;
    struct buf changes, need_restart;
};

static int read_and_check(const struct config *now, struct reading *ret, FILE *err) {
    if (config_load(now->service, (const char *const *)environ, &ret->fresh, err) < 0)
        return -1;
    if (config_reload_judge(&ret->fresh, now, &ret->changes, &ret->need_restart, err) < 0)
        return -1;
    return app_check(&ret->fresh, &ret->keys, err);
}

static void take(struct app_reload *r, struct reading *reading,
                 void (*reload)(void *self, struct auth *keys), void *self) {
    enum log_level least = LOG_LEVEL_INFO;
    config_reload_take(r->config, &reading->fresh);
    if (log_level_parse(r->config->log_level, &least))
        log_set_least(r->app->log, least);
    if (reload)
        reload(self, reading->keys);
    metric_add(r->taken, 1);
    log_info(r->app->log, "reloaded", "Settings were read again.",
             LOG_TEXT("changed", reading->changes.data ? reading->changes.data : ""));
    if (reading->need_restart.data)
        log_warn(r->app->log, "reload_needs_restart",
                 "Some settings that changed are taken only at the next start.",
                 LOG_TEXT("settings", reading->need_restart.data));
}

void app_reload_run(struct app_reload *r, void (*reload)(void *self, struct auth *keys),
                    void *self) {
    struct reading reading = {0};
    char *why = NULL;
    size_t len = 0;
    FILE *err = open_memstream(&why, &len);
    if (!err)
        abort(); /* no memory */
    int result = read_and_check(r->config, &reading, err);
    fclose(err);
    if (result == 0) {
        take(r, &reading, reload, self);
    } else {
        why[strcspn(why, "\n")] = '\0';
        metric_add(r->refused, 1);
        log_error(r->app->log, "reload_refused", "What was read again is wrong: nothing changes.",
                  LOG_TEXT("err", why));
    }
    free(why);
    auth_free(reading.keys);
    config_done(&reading.fresh);
    buf_done(&reading.changes);
    buf_done(&reading.need_restart);
}
