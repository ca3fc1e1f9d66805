/* Private to config*.c: the environment's names, and values that come from files. */
#pragma once

#include <stdio.h>

#include "base/cleanup.h"

/* The value of <name><suffix>, borrowed; NULL when it is not there or empty (empty is as not given:
 * what compose and Kubernetes make of a variable without a value). */
const char *config_environment_get(const char *const *environment, const char *name,
                                   const char *suffix);
/* Tells every HANDOFF_ name that no service knows; -EINVAL when there was one. What Kubernetes
 * injects for a Service is let pass. */
MUSTCHECK int config_refuse_unknown(const char *service_name, const char *const *environment,
                                    FILE *err);
/* A small text file, less one trailing newline; the caller frees. -EFBIG over 64 KiB, -EINVAL with
 * a NUL in it. */
MUSTCHECK int config_file_read(const char *path, char **ret);
