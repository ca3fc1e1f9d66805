/* audit_writer: every durable event becomes a row. See writer.h and the contract, sections 5 and 7.
 */
#include "common/app.h"
#include "services/audit_writer/writer.h"

int main(int argc, char **argv) {
    static const struct app_spec spec = {
        .service = CONFIG_AUDIT_WRITER,
        .start = writer_start,
        .drain = writer_drain,
        .stop = writer_stop,
    };
    return app_main(&spec, argc, argv);
}
