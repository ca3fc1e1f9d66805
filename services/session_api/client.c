/* Clients behind proxies; see client.h. Read from the end, since what a client itself puts into
 * X-Forwarded-For comes first: nobody can choose the address that it is counted by. */
#include "services/session_api/client.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

void proxies_init(struct proxies *p, const char *list) {
    *p = (struct proxies){0};
    while (*list) {
        size_t len = strcspn(list, ",");
        p->networks = must_realloc(p->networks, (p->n + 1) * sizeof(*p->networks));
        if (network_parse(list, len, &p->networks[p->n]))
            p->n++;
        list += len + (list[len] == ',');
    }
}

void proxies_done(struct proxies *p) {
    free(p->networks);
    *p = (struct proxies){0};
}

static bool is_trusted(const struct proxies *p, const struct address *a) {
    for (size_t i = 0; i < p->n; i++)
        if (network_has(&p->networks[i], a))
            return true;
    return false;
}

/* An element as proxies write it: blanks around it, brackets around IPv6, a port behind it. */
static bool parse_element(const char *text, size_t len, struct address *ret) {
    while (len > 0 && (*text == ' ' || *text == '\t'))
        text++, len--;
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    const char *colon = memchr(text, ':', len);
    if (len > 0 && *text == '[') {
        const char *end = memchr(text, ']', len);
        return end && address_parse(text + 1, (size_t)(end - text - 1), ret);
    }
    if (colon && !memchr(colon + 1, ':', len - (size_t)(colon + 1 - text)))
        len = (size_t)(colon - text);
    return address_parse(text, len, ret);
}

void client_address(const struct proxies *p, const char *peer, const char *forwarded,
                    char ret[static ADDRESS_CAP]) {
    struct address address;
    if (!address_parse(peer, strlen(peer), &address)) {
        strcpy(ret, "unknown");
        return;
    }
    size_t end = forwarded ? strlen(forwarded) : 0;
    while (end > 0 && is_trusted(p, &address)) {
        size_t start = end;
        while (start > 0 && forwarded[start - 1] != ',')
            start--;
        if (!parse_element(forwarded + start, end - start, &address))
            break;
        end = start > 0 ? start - 1 : 0;
    }
    address_print_block(&address, ret);
}
