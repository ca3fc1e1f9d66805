/* PostgreSQL's hosts; see db_hosts.h. */
#include "common/db_hosts.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"

#define DEFAULT_PORT "5432"

static size_t count(const char *list) {
    size_t n = 1;
    while ((list = strchr(list, ',')))
        list++, n++;
    return n;
}

/* The i-th of a list; owned by the caller. */
static char *element(const char *list, size_t i) {
    while (i--)
        list = strchr(list, ',') + 1;
    return must_memdup(list, strcspn(list, ","));
}

static char *port_of(const char *list, size_t i) {
    char *port = element(list, count(list) == 1 ? 0 : i);
    if (port[0])
        return port;
    free(port);
    return must_strdup(DEFAULT_PORT);
}

static bool is_port(const char *text) {
    size_t len = strlen(text);
    return len <= 5 && strspn(text, "0123456789") == len && atoi(text) >= 1 && atoi(text) <= 65535;
}

int db_hosts_parse(struct db_hosts *ret, const char *hosts, const char *addresses,
                   const char *ports) {
    hosts = hosts ? hosts : "";
    addresses = addresses ? addresses : "";
    ports = ports ? ports : "";
    size_t n = *addresses ? count(addresses) : count(hosts);
    if (n > DB_HOSTS_MAX || (*addresses && *hosts && count(hosts) != n) ||
        (count(ports) != 1 && count(ports) != n))
        return -EINVAL;
    struct db_hosts h = {.n = n};
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        h.all[i].host = *hosts ? element(hosts, i) : must_strdup("");
        h.all[i].address = *addresses ? element(addresses, i) : must_strdup("");
        h.all[i].port = port_of(ports, i);
        ok = ok && is_port(h.all[i].port) && (n == 1 || h.all[i].host[0] || h.all[i].address[0]);
    }
    if (ok)
        *ret = h;
    else
        db_hosts_done(&h);
    return ok ? 0 : -EINVAL;
}

void db_hosts_done(struct db_hosts *h) {
    for (size_t i = 0; i < h->n; i++) {
        free(h->all[i].host);
        free(h->all[i].address);
        free(h->all[i].port);
    }
    *h = (struct db_hosts){0};
}

bool db_host_needs_lookup(const struct db_host *host) {
    struct in6_addr ignored;
    return host->host[0] && host->host[0] != '/' && host->host[0] != '@' && !host->address[0] &&
           uv_inet_pton(AF_INET, host->host, &ignored) != 0 &&
           uv_inet_pton(AF_INET6, host->host, &ignored) != 0;
}
