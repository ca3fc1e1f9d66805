/* state_engine: the only writer of session state. */
#include "services/state_engine/worker.h"

static int start(struct app *app, void **ret_self) {
    struct worker *w = NULL;
    int r = worker_new(&w, app);
    if (r == 0)
        *ret_self = w;
    return r;
}

static void drain(void *self) {
    worker_drain(self);
}

static void stop(void *self) {
    worker_free(self);
}

int main(int argc, char **argv) {
    static const struct app_spec spec = {
        .service = CONFIG_STATE_ENGINE,
        .start = start,
        .drain = drain,
        .stop = stop,
    };
    return app_main(&spec, argc, argv);
}
