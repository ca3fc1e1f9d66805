/* Where the broker is: what is taken has addresses that can be connected to, and put together again
 * it is taken as the same. */
#include <stdio.h>

#include "common/bus_url.h"
#include "fuzz_json.h"

static void check_one(const struct bus_address *a) {
    char shown[BUS_ADDRESS_CAP];
    must_hold(a->host[0] && a->port >= 1 && a->port <= 65535);
    bus_address_print(a, shown);
    must_hold(strlen(shown) < BUS_ADDRESS_CAP && strrchr(shown, ':'));
    must_hold(atoi(strrchr(shown, ':') + 1) == a->port);
}

static bool is_plain(const char *text) {
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
           strlen(text);
}

/* Without what would have to be escaped. */
static void check_again(const struct bus_url *u) {
    struct bus_url again;
    struct buf out = BUF_NULL;
    char shown[BUS_ADDRESS_CAP];
    if (!is_plain(u->user) || !is_plain(u->password) || strpbrk(u->vhost, "%") ||
        strlen(u->vhost) == 0 || !is_plain(u->vhost))
        return;
    buf_printf(&out, "amqp://%s:%s@", u->user, u->password);
    for (size_t i = 0; i < u->n_addresses; i++) {
        if (!is_plain(u->addresses[i].host) || strlen(u->addresses[i].host) > 255) {
            buf_done(&out);
            return;
        }
        bus_address_print(&u->addresses[i], shown);
        buf_printf(&out, "%s%s", i ? "," : "", shown);
    }
    buf_printf(&out, "/%s", u->vhost);
    must_hold(bus_url_parse(&again, out.data) == 0 && again.n_addresses == u->n_addresses);
    must_hold(strcmp(again.user, u->user) == 0 && strcmp(again.password, u->password) == 0 &&
              strcmp(again.vhost, u->vhost) == 0);
    for (size_t i = 0; i < u->n_addresses; i++)
        must_hold(strcmp(again.addresses[i].host, u->addresses[i].host) == 0 &&
                  again.addresses[i].port == u->addresses[i].port);
    bus_url_done(&again);
    buf_done(&out);
}

static void check_url(const char *text) {
    struct bus_url u;
    if (bus_url_parse(&u, text) != 0)
        return;
    must_hold(u.n_addresses >= 1 && u.n_addresses <= BUS_ADDRESSES_MAX);
    must_hold(strncmp(text, "amqp:", 5) == 0 && u.user && u.password && u.vhost[0]);
    for (size_t i = 0; i < u.n_addresses; i++)
        check_one(&u.addresses[i]);
    check_again(&u);
    bus_url_done(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size);
    check_url(text);
    free(text);
    return 0;
}
