/* The services, and this command (`handoff`), by their names, and the configuration of each as this
 * environment has it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "common/config.h"

#define SERVICES_N 5
#define SERVICES_LAST CONFIG_CLI

struct services {
    struct config configs[SERVICES_N]; /* of those that could be loaded, in the bits' order */
    size_t n;
};
void services_done(struct services *s);

/* The bits that a name (NULL: all services) means; 0 for none. */
unsigned services_find(const char *name);
/* The command line of those that look at services: --service and --json. False: told, 2. */
MUSTCHECK bool services_read(int argc, char **argv, unsigned *ret_services, bool *ret_json);
const char *services_name(enum config_service service);
/* What is wrong with a service's configuration, in lines; "" and *ret when it is fine. Owned by the
 * caller. */
char *services_load(enum config_service service, struct config *ret);
