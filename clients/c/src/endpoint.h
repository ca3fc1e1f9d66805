/* Where the server is: ws, wss, http and https URLs. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

struct endpoint {
    char *host; /* owned; IPv6 without its brackets */
    int port;
    char *path; /* owned; before /ws, without a slash at its end: "" mostly */
    bool is_secure;
};

/* -EINVAL: none of these, or with a user, a query or a fragment. */
MUSTCHECK int endpoint_parse(const char *url, struct endpoint *ret);
void endpoint_done(struct endpoint *a);
bool endpoint_is_loopback(const struct endpoint *a);
