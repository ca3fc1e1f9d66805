/* Fetches an identity provider's keys (fetch.h) as jwks.h says when. Loop thread only. */
#pragma once

#include "common/app.h"
#include "common/jwks.h"

struct jwks_fetch;

/* Begins with the first fetch. jwks: borrowed, outlives the fetch; NULL (no provider is
 * configured): *ret is NULL. What is learned goes to the log, to metrics, and to /ready as
 * "identity_provider". -ENOMEM when libcurl cannot start. */
MUSTCHECK int jwks_fetch_new(struct jwks_fetch **ret, struct app *app, struct jwks *jwks);
/* Fetches the keys anew, at once. NULL is fine. */
void jwks_fetch_demand(struct jwks_fetch *f);
/* Its handles close in the loop. NULL is fine. */
struct jwks_fetch *jwks_fetch_free(struct jwks_fetch *f);
