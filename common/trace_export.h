/* Sends ended steps to a collector by OTLP/HTTP: in batches, a second after the first of one or
 * when 512 are there. What waits is bounded; past the bound, and with a collector that stays away,
 * steps are dropped and counted. Nothing ever waits for it. */
#pragma once

#include "base/cleanup.h"

struct app;
struct span;
struct trace_export;

/* *ret NULL: HANDOFF_OTLP_URL is empty. -EINVAL: it is no URL; -ENOMEM: libcurl cannot start. */
MUSTCHECK int trace_export_new(struct trace_export **ret, struct app *app);
/* As tracer_free says. */
struct trace_export *trace_export_free(struct trace_export *e);
void trace_export_add(struct trace_export *e, const struct span *s);

/* Where steps are sent to: HANDOFF_OTLP_URL, with /v1/traces where it has no path. -EINVAL. */
MUSTCHECK int trace_export_url(const char *url, char **ret);
