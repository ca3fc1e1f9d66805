/* Private to app*.c: the admin port (/health, /ready, /metrics, /drain, /rebalance) and the
 * process's own metrics. */
#pragma once

#include "base/cleanup.h"
#include "common/app.h"

struct admin;

/* app.c: drains as a signal does; by: who wants it, for the log. Again: nothing. */
void app_drain(struct app *app, int64_t spread_ms, const char *by);

bool app_can_rebalance(const struct app *app);
/* False: it drains. */
MUSTCHECK bool app_rebalance(struct app *app, int64_t spread_ms);

/* Listens on config->admin_listen. 0 or negative errno, logged already. app is borrowed. */
MUSTCHECK int admin_new(struct admin **ret, struct app *app);
/* Closes its handles; they are gone, and a is freed, some turns of the loop later. */
struct admin *admin_free(struct admin *a);
