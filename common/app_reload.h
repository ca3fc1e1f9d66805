/* Private to app*.c: SIGHUP. */
#pragma once

#include "common/app.h"

struct app_reload {
    struct app *app;       /* borrowed */
    struct config *config; /* the same as the app's, to be changed; borrowed */
    struct metric *taken, *refused;
};

void app_reload_init(struct app_reload *r, struct app *app, struct config *config);
/* Reads the environment's files again, checks everything, and takes all of what may change, or
 * nothing; says in the log which. reload: the spec's, with its self; may be NULL. */
void app_reload_run(struct app_reload *r, void (*reload)(void *self, struct auth *keys),
                    void *self);
