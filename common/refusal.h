/* What the log says of a request that was refused, whoever refused it: one set of events for all
 * services. */
#pragma once

#include "common/log.h"
#include "proto/fault.h"

/* A bug is an error, what could not be served a warning, a bad token worth knowing, and all else
 * the caller's own doing. fields: as log_write takes them; `detail` is for them to tell. */
void refusal_log(struct log *log, enum fault_code code, const struct log_field *fields);
#define REFUSAL_LOG(log, code, ...)                                                                \
    refusal_log((log), (code), (const struct log_field[]){__VA_ARGS__, LOG_END})
