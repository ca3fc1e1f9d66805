/* Where a request stands in a trace: W3C Trace Context, header `traceparent`, and the bare ids as
 * OpenTelemetry writes them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_ID_BYTES 16
#define TRACE_SPAN_ID_BYTES 8
#define TRACE_ID_LEN (2 * TRACE_ID_BYTES)
#define TRACE_SPAN_ID_LEN (2 * TRACE_SPAN_ID_BYTES)
#define TRACE_PARENT_LEN 55 /* version 00, which is what is printed */

struct trace_context {
    uint8_t trace_id[TRACE_ID_BYTES];
    uint8_t span_id[TRACE_SPAN_ID_BYTES]; /* whose doing what follows is; all 0: of a new trace */
    bool is_set;                          /* false: there is no trace, and the rest is 0 */
    bool is_sampled;                      /* its steps are recorded */
};

/* Whether text is a traceparent (section 3.2: lower case, no zero ids, not version ff). Of a
 * version after 00 what is known is read, and what follows it is not looked at. Else *ret is not
 * set. */
bool trace_context_parse(const char *text, size_t len, struct trace_context *ret);
/* As a field's value came: blanks around it (RFC 9110 section 5.5) do not count. NULL: not set. */
void trace_context_take(const char *text, struct trace_context *ret);
/* Of one that is set, with a span. */
void trace_context_print(const struct trace_context *c, char ret[static TRACE_PARENT_LEN + 1]);
void trace_id_print(const struct trace_context *c, char ret[static TRACE_ID_LEN + 1]);
/* Lower case hex digits of n bytes, and a NUL. */
void trace_hex_print(const uint8_t *bytes, size_t n, char *ret);
