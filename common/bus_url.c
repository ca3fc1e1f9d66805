/* The broker's addresses; see bus_url.h. librabbitmq reads a URL of one host: each address is put
 * into a URL of its own, so that escapes mean what they mean there. */
#include "common/bus_url.h"

#include <amqp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

static int parse_address(struct bus_address *ret, const char *url,
                         struct amqp_connection_info *info) {
    _cleanup_(freep) char *text = must_strdup(url);
    if (amqp_parse_url(text, info) != AMQP_STATUS_OK || info->ssl || info->port == 0 ||
        !info->host[0])
        return -EINVAL;
    *ret = (struct bus_address){.host = info->host, .port = info->port};
    ret->text = TAKE_PTR(text);
    return 0;
}

/* [from, to) of url is its list of addresses. */
static int parse_list(struct bus_url *u, const char *url, const char *from, const char *to) {
    for (const char *at = from; at <= to;) {
        const char *comma = memchr(at, ',', (size_t)(to - at)), *end = comma ? comma : to;
        if (end == at || *at == ':' || u->n_addresses == BUS_ADDRESSES_MAX)
            return -EINVAL;
        _cleanup_(buf_done) struct buf one = BUF_NULL;
        buf_put(&one, url, (size_t)(from - url));
        buf_put(&one, at, (size_t)(end - at));
        buf_puts(&one, to);
        struct amqp_connection_info info;
        int r = parse_address(&u->addresses[u->n_addresses], one.data, &info);
        if (r < 0)
            return r;
        if (u->n_addresses++ == 0) {
            u->user = info.user;
            u->password = info.password;
            u->vhost = info.vhost[0] ? info.vhost : "/"; /* "amqp://h/" names none */
        }
        at = end + 1;
    }
    return 0;
}

int bus_url_parse(struct bus_url *ret, const char *url) {
    const char *scheme_end = strstr(url, "://");
    if (!scheme_end)
        return -EINVAL;
    const char *from = scheme_end + 3, *to = from + strcspn(from, "/?#");
    const char *at = memrchr(from, '@', (size_t)(to - from));
    struct bus_url u = {0};
    int r = parse_list(&u, url, at ? at + 1 : from, to);
    if (r < 0)
        bus_url_done(&u);
    else
        *ret = u;
    return r;
}

void bus_url_done(struct bus_url *u) {
    for (size_t i = 0; i < u->n_addresses; i++)
        free(u->addresses[i].text);
    *u = (struct bus_url){0};
}

void bus_address_print(const struct bus_address *a, char ret[static BUS_ADDRESS_CAP]) {
    snprintf(ret, BUS_ADDRESS_CAP, strchr(a->host, ':') ? "[%.255s]:%d" : "%.255s:%d", a->host,
             a->port);
}
