/* A handoff code: 128 random bits as 22 characters of base64url. Pure. docs/decisions/0017. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define HANDOFF_CODE_LEN 22
#define HANDOFF_TTL_DEFAULT_S 120
#define HANDOFF_TTL_MIN_S 10
#define HANDOFF_TTL_MAX_S 300

void handoff_code_new(char ret[static HANDOFF_CODE_LEN + 1]);
/* Whether it could be one. */
bool handoff_code_is(const char *text, size_t len);
/* Appends the url with the code where it has {code} (HANDOFF_CODE_URL). */
void handoff_code_put_url(const char *url, const char *code, struct buf *out);
