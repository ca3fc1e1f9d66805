/* Origins of browser pages that may call (HANDOFF_ALLOWED_ORIGINS), and whether a request's Origin
 * is one of them. Pure. RFC 6454. */
#pragma once

#include <stdbool.h>

/* What is said of HANDOFF_ALLOWED_ORIGINS: "*" alone, or comma-separated scheme://host[:port]. An
 * Origin has neither a path nor a slash at its end: one configured with it would never match. The
 * port may be "*" where the host is loopback (localhost, 127.0.0.1, [::1]), and nothing else may
 * have a star: on a host of one's own, any port is one's own; of another's, it could be anybody's.
 */
bool origins_are_valid(const char *text);

/* What to send as Access-Control-Allow-Origin: origin itself, or "*" where all are allowed; NULL:
 * this page may not call. allowed: valid, or "". origin: as the browser sent it; NULL or "": from
 * no page. */
const char *origins_allow(const char *allowed, const char *origin);
