/* ws_fanout: events to WebSockets, and their clients' commands to the engine. */
#include "common/app.h"
#include "services/ws_fanout/fanout.h"

int main(int argc, char **argv) {
    static const struct app_spec spec = {
        .service = CONFIG_WS_FANOUT,
        .start = fanout_start,
        .drain = fanout_drain,
        .rebalance = fanout_rebalance,
        .stop = fanout_stop,
        .reload = fanout_reload,
    };
    return app_main(&spec, argc, argv);
}
