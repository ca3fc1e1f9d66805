/* PostgreSQL's hosts. Input: libpq's lists host, hostaddr and port, a newline between; a line that
 * is missing is a list that was not given. What is taken has as many as each list names, each in
 * its place, with a port that there is. */
#include "common/db_hosts.h"
#include "fuzz_json.h"

static size_t count(const char *list) {
    size_t n = 1;
    for (; *list; list++)
        n += *list == ',';
    return n;
}

static bool is_at(const char *list, size_t i, const char *item) {
    while (i--)
        list = strchr(list, ',') + 1;
    size_t len = strcspn(list, ",");
    return strlen(item) == len && memcmp(list, item, len) == 0;
}

static void check(const char *hosts, const char *addresses, const char *ports) {
    struct db_hosts h;
    if (db_hosts_parse(&h, hosts, addresses, ports) != 0)
        return;
    must_hold(h.n >= 1 && h.n <= DB_HOSTS_MAX);
    must_hold(!hosts || !*hosts || count(hosts) == h.n);
    must_hold(!addresses || !*addresses || count(addresses) == h.n);
    for (size_t i = 0; i < h.n; i++) {
        const struct db_host *one = &h.all[i];
        must_hold(!hosts || !*hosts ? !one->host[0] : is_at(hosts, i, one->host));
        must_hold(!addresses || !*addresses ? !one->address[0] : is_at(addresses, i, one->address));
        must_hold(h.n == 1 || one->host[0] || one->address[0]);
        must_hold(atoi(one->port) >= 1 && atoi(one->port) <= 65535);
        must_hold(!db_host_needs_lookup(one) || (one->host[0] && !one->address[0]));
    }
    db_hosts_done(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *lists[3] = {NULL};
    char *at = text;
    for (size_t i = 0; at && i < N_ELEMENTS(lists); i++)
        lists[i] = strsep(&at, "\n");
    check(lists[0], lists[1], lists[2]);
    free(text);
    return 0;
}
