/* session_api: REST in, commands out, reads answered from Redis and PostgreSQL. */
#include "services/session_api/api.h"

int main(int argc, char **argv) {
    static const struct app_spec spec = {
        .service = CONFIG_SESSION_API,
        .start = api_start,
        .drain = api_drain,
        .stop = api_stop,
        .reload = api_reload,
    };
    return app_main(&spec, argc, argv);
}
