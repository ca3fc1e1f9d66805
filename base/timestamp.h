/* Moments: Unix time in milliseconds inside, RFC 3339 in UTC with milliseconds on the wire. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMESTAMP_LEN 24 /* 2026-02-12T12:00:00.000Z */

/* Years 0 to 9999; what lies outside is clamped. */
void timestamp_print(int64_t unix_ms, char ret[static TIMESTAMP_LEN + 1]);
/* Takes exactly the form that timestamp_print writes; false (ret untouched) for anything else. */
bool timestamp_parse(const char *text, size_t len, int64_t *ret_unix_ms);

/* The system's wall clock and its monotonic clock. */
int64_t timestamp_wall_ms(void);
int64_t timestamp_monotonic_ms(void);
