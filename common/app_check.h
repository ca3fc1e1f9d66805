/* Private to app*.c: what of a configuration only its use shows to be wrong. */
#pragma once

#include <stdio.h>

#include "base/cleanup.h"
#include "common/auth.h"
#include "common/config.h"

/* Reads the keys and looks at the addresses. *ret_auth: the keys, the caller's; NULL for a service
 * that verifies no tokens. -EINVAL, with what is wrong and what is allowed written to err. */
MUSTCHECK int app_check(const struct config *config, struct auth **ret_auth, FILE *err);
