/* Refusals in the log; see refusal.h. */
#include "common/refusal.h"

void refusal_log(struct log *log, enum fault_code code, const struct log_field *fields) {
    int status = fault_http_status(code);
    if (status == 500)
        log_write(log, LOG_LEVEL_ERROR, "request_failed", "A request met a bug.", fields);
    else if (status > 500)
        log_write(log, LOG_LEVEL_WARN, "request_failed", "A request could not be served.", fields);
    else if (status == 401)
        log_write(log, LOG_LEVEL_INFO, "unauthenticated", "A token was refused.", fields);
    else
        log_write(log, LOG_LEVEL_DEBUG, "request_refused", "A request was refused.", fields);
}
