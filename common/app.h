/* What every service is made of: config, log, loop, signals, metrics, health, admin port, drain. A
 * service's main is an app_spec and a call to app_main. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "common/config.h"
#include "common/health.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/trace.h"

struct auth;

/* What the parts of a service get. Lives from before start to after stop; all loop thread only. */
struct app {
    const struct config *config;
    uv_loop_t *loop;
    struct log *log;
    struct metrics *metrics;
    struct health *health;
    /* Draining: over how long clients are to be sent elsewhere; 0: at once. May become 0. */
    int64_t drain_spread_ms;
    struct tracer *tracer; /* NULL in tests of a part: nothing is traced */
};

struct app_spec {
    enum config_service service;
    /* Makes the parts and lets them connect by themselves; must not wait for a dependency.
     * 0, or negative errno (logged by the part): the process ends with 1. */
    int (*start)(struct app *app, void **ret_self);
    /* SIGTERM, SIGINT or POST /drain: take no new work; call app_drained when what is in hand is
     * finished (at once, or later from the loop). Called once. After config->drain_timeout_ms (and
     * app->drain_spread_ms) stop comes regardless. */
    void (*drain)(void *self);
    /* POST /rebalance: send the clients that are there now elsewhere over so long (at least 1 ms),
     * and take new ones as ever. Again: these, in place of those of the last time. NULL: there is
     * nothing of that kind. Not called once drain was. */
    void (*rebalance)(void *self, int64_t spread_ms);
    /* Closes every handle and frees self; the loop then runs until the handles are gone. */
    void (*stop)(void *self);
    /* SIGHUP: config has changed in what may change while a service runs (config_reload.h), and was
     * checked. keys: what the key files have now, read with it, borrowed; NULL for a service that
     * verifies no tokens. NULL: what the service needs of it, it finds itself (bus_follow_url and
     * its like). */
    void (*reload)(void *self, struct auth *keys);
};

/* Parses --help, --check-config, --is-ready, --version; runs until drained. Returns the exit code:
 * 0 after a drain, 1 when start failed (or what runs is not ready), 2 for a bad configuration. */
int app_main(const struct app_spec *spec, int argc, char **argv);
void app_drained(struct app *app);
/* A part cannot go on, and has logged why: the process ends in order, with 1. */
void app_fail(struct app *app);
