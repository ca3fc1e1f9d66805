/* Addresses: a list of networks as HANDOFF_TRUSTED_PROXIES has it, a newline, X-Forwarded-For. Who
 * is counted is always an address, and for a peer that is no proxy nothing but itself. */
#include "fuzz_json.h"
#include "services/session_api/client.h"

static void check_address(const char *text, size_t len) {
    struct address a, again;
    struct network n;
    char block[ADDRESS_CAP];
    if (!address_parse(text, len, &a))
        return;
    address_print_block(&a, block);
    must_hold(network_parse(block, strlen(block), &n) && network_has(&n, &a));
    char *slash = strchr(block, '/');
    must_hold(address_parse(block, slash ? (size_t)(slash - block) : strlen(block), &again));
    must_hold(network_has(&n, &again));
}

static void check_network(const char *text, size_t len) {
    struct network n;
    if (!network_parse(text, len, &n))
        return;
    must_hold(n.n_bits <= 128 && network_has(&n, &n.address));
    struct address other = n.address;
    if (n.n_bits > 0) {
        other.bytes[(n.n_bits - 1) / 8] ^= 0x80u >> (n.n_bits - 1) % 8;
        must_hold(!network_has(&n, &other));
    }
}

static void check_client(const char *list, const char *forwarded) {
    static const char *const peers[] = {"192.0.2.1", "2001:db8::1", "", "unix"};
    struct proxies p, nobody;
    struct network n;
    char counted[ADDRESS_CAP], peer[ADDRESS_CAP];
    proxies_init(&p, list);
    proxies_init(&nobody, "");
    for (size_t i = 0; i < N_ELEMENTS(peers); i++) {
        client_address(&p, peers[i], forwarded, counted);
        must_hold(strcmp(counted, "unknown") == 0 || network_parse(counted, strlen(counted), &n));
        client_address(&nobody, peers[i], NULL, peer);
        client_address(&nobody, peers[i], forwarded, counted);
        must_hold(strcmp(counted, peer) == 0);
    }
    proxies_done(&p);
    proxies_done(&nobody);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_address((const char *)data, size);
    check_network((const char *)data, size);
    char *list = must_alloc(size + 1);
    if (size > 0)
        memcpy(list, data, size);
    list[size] = '\0';
    char *newline = strchr(list, '\n');
    if (newline)
        *newline = '\0';
    check_client(list, newline ? newline + 1 : list);
    free(list);
    return 0;
}
