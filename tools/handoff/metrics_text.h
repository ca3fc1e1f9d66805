/* What an instance's /metrics says (the text format of Prometheus), as far as a command asks for
 * it. */
#pragma once

#include <stdint.h>

/* The sum of a metric's samples, whatever their labels; what is no number that a count or a time
 * can be, is none of them. -1: there is none. */
int64_t metrics_text_sum(const char *metrics, const char *name);
