/* The keys that tokens are verified with, in a service that runs: read at its start and whenever it
 * is told to, those of an identity provider fetched. Loop thread only. */
#pragma once

#include "common/app.h"
#include "common/auth.h"

struct identity;

/* As app->config says; what goes wrong, and what an operator should hear, is logged. -EINVAL for
 * keys that cannot be, -ENOMEM when libcurl cannot start. */
MUSTCHECK int identity_new(struct identity **ret, struct app *app);
/* Its handles close in the loop. NULL is fine. */
struct identity *identity_free(struct identity *i);
/* Borrowed; the same for as long as the identity lives. */
struct auth *identity_auth(const struct identity *i);
/* The keys of fresh replace those that there are, which fresh gets; a provider's are fetched at
 * once. */
void identity_reload(struct identity *i, struct auth *fresh);
