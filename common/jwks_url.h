/* Whether HANDOFF_JWKS_URL and HANDOFF_JWKS_CA_FILE can be used at all, before anything starts. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/* https to anywhere; http to this machine alone, where no one is between; no user in it, no
 * fragment. ca_file: "", or a PEM file with a certificate. -EINVAL, and why in ret_error (owned by
 * the caller). */
MUSTCHECK int jwks_url_check(const char *url, const char *ca_file, char **ret_error);
/* Of a URL that was checked. */
bool jwks_url_is_loopback(const char *url);
