/* The servers that a connection may be made to, in the order of the URL: what libpq would go
 * through by itself, were it to look names up and give each host its time without blocking. Only
 * db_connect.c and db_hosts.c include it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

#define DB_HOSTS_MAX 16

/* Owned texts; host and address are "" where the URL leaves them to libpq. */
struct db_host {
    char *host, *address, *port;
};

struct db_hosts {
    struct db_host all[DB_HOSTS_MAX];
    size_t n; /* at least 1 */
};

/* The lists are libpq's options host, hostaddr and port; NULL: not given. -EINVAL for over 16, one
 * of several that is empty, a bad port, lists of different lengths. */
MUSTCHECK int db_hosts_parse(struct db_hosts *ret, const char *hosts, const char *addresses,
                             const char *ports);
void db_hosts_done(struct db_hosts *h);
/* A name, neither an address nor a socket's folder. */
bool db_host_needs_lookup(const struct db_host *host);
