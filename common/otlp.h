/* Steps of traces as OTLP/HTTP has them in JSON (OpenTelemetry Protocol 1.x: ids in hex, 64 bit
 * integers as strings, enums as numbers), and what a collector answers. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "common/trace.h"

/* One element of `spans`, of a step that has ended. */
void otlp_print_span(const struct span *s, struct buf *out);
/* An ExportTraceServiceRequest around spans, which are joined by commas. */
void otlp_print_request(const char *service, const char *instance, const struct buf *spans,
                        struct buf *out);
/* How many spans a collector says that it did not take (ExportTracePartialSuccess): 0 as well when
 * the answer is anything else. ret_why: what it says, owned, or NULL. */
int64_t otlp_read_rejected(const char *body, size_t len, char **ret_why);
