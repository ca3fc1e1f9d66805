/* --is-ready: asks the instance that runs beside with the same configuration, for a container's
 * health check, where neither shell nor curl is. */
#pragma once

#include "base/cleanup.h"

/* GET /ready at the address of HANDOFF_ADMIN_LISTEN ("host:port"; an unspecified host is asked at
 * its loopback), 2 s for each step. 0 when it is ready; -EAGAIN when it answers that it is not,
 * -EPROTO when what answers is no Handoff, else negative errno of connecting. */
MUSTCHECK int http_probe(const char *admin_listen);
