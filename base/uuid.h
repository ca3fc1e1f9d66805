/* UUIDs as RFC 9562 has them, always as 36 lower-case characters. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UUID_LEN 36

/* A new version 7 UUID (RFC 9562, section 5.7) of the moment unix_ms; its other 74 bits are random.
 */
void uuid_v7(int64_t unix_ms, char ret[static UUID_LEN + 1]);
/* A new random version 4 UUID. */
void uuid_v4(char ret[static UUID_LEN + 1]);
/* Version 5 (SHA-1 of namespace and name; RFC 9562, section 5.5). namespace_id must be a UUID. */
void uuid_v5(const char *namespace_id, const void *name, size_t len, char ret[static UUID_LEN + 1]);
/* Whether text[0..len) is a UUID in its canonical, lower-case form (any version). */
bool uuid_is(const char *text, size_t len);
/* Lower-cases a UUID in any case; false (and ret untouched) when text is none. */
bool uuid_lower(const char *text, size_t len, char ret[static UUID_LEN + 1]);
