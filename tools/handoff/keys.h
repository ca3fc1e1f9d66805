/* The keys that tokens are verified with, as session_api and ws_fanout have them. */
#pragma once

#include "base/cleanup.h"
#include "common/auth.h"
#include "common/config.h"

/* Reads secrets and key files, and looks at the provider's URL. -EINVAL, and why in ret_error
 * (owned by the caller). */
MUSTCHECK int keys_load(struct auth **ret, const struct config *config, char **ret_error);
/* Fetches those of the identity provider, where one is configured; waits 10 s at most. -ENOTCONN,
 * and why in ret_error (owned by the caller). */
MUSTCHECK int keys_fetch(struct auth *auth, const struct config *config, char **ret_error);
