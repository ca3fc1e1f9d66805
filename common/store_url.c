/* Where Redis is: redis://[user:password@]host:port[/db], or redis+cluster:// with several
 * addresses, by hand, since hiredis takes no URL. User and password are percent-decoded, so that a
 * password may hold any byte but NUL. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/store_private.h"

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* An owned copy of text[0..len) with %XX resolved; NULL for a bad or zero one. */
static char *decode(const char *text, size_t len) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            buf_putc(&out, text[i]);
            continue;
        }
        int high = i + 2 < len ? hex_value(text[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text[i + 2]) : -1;
        if (low < 0 || (high == 0 && low == 0))
            return NULL;
        buf_putc(&out, (char)(high * 16 + low));
        i += 2;
    }
    return buf_take(&out);
}

static int parse_login(const char *text, size_t len, struct store_url *url) {
    const char *colon = memchr(text, ':', len);
    if (!colon)
        return -EINVAL;
    url->user = decode(text, (size_t)(colon - text));
    url->password = decode(colon + 1, (size_t)(text + len - colon - 1));
    return url->user && url->password && *url->password ? 0 : -EINVAL;
}

static int parse_number(const char *text, size_t len, uint64_t least, uint64_t most, int *ret) {
    uint64_t number;
    if (!store_parse_u64(text, len, &number) || number < least || number > most)
        return -EINVAL;
    *ret = (int)number;
    return 0;
}

/* host:port or [v6]:port */
static int parse_address(const char *text, size_t len, struct store_address *ret) {
    const char *colon = memrchr(text, ':', len);
    if (!colon || colon == text)
        return -EINVAL;
    size_t host_len = (size_t)(colon - text);
    size_t port_len = len - host_len - 1;
    if (text[0] == '[' && colon[-1] == ']') {
        text++;
        host_len -= 2;
    } else if (memchr(text, ':', host_len)) {
        return -EINVAL;
    }
    if (!host_len || host_len >= sizeof(ret->host))
        return -EINVAL;
    store_copy(ret->host, sizeof(ret->host), text, host_len);
    return parse_number(colon + 1, port_len, 1, 65535, &ret->port);
}

/* One address, or of a cluster several with commas between. */
static int parse_addresses(const char *text, size_t len, struct store_url *url) {
    const char *end = text + len;
    url->seeds = must_alloc(STORE_MAX_SEEDS * sizeof(*url->seeds));
    for (;;) {
        const char *comma = url->is_cluster ? memchr(text, ',', (size_t)(end - text)) : NULL;
        const char *stop = comma ? comma : end;
        if (url->n_seeds == STORE_MAX_SEEDS)
            return -EINVAL;
        int err = parse_address(text, (size_t)(stop - text), &url->seeds[url->n_seeds++]);
        if (err || !comma)
            return err;
        text = comma + 1;
    }
}

/* What follows the scheme; NULL when it is not ours. */
static const char *skip_scheme(const char *text, bool *ret_is_cluster) {
    static const char *const schemes[] = {"redis://", "redis+cluster://"};
    for (size_t i = 0; i < N_ELEMENTS(schemes); i++) {
        *ret_is_cluster = i == 1;
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
            return text + strlen(schemes[i]);
    }
    return NULL;
}

/* A cluster has but db 0. */
static int parse_db(const char *text, struct store_url *url) {
    return parse_number(text, strlen(text), 0, url->is_cluster ? 0 : 65535, &url->db);
}

int store_url_parse(const char *text, struct store_url *ret) {
    struct store_url url = {0};
    text = skip_scheme(text, &url.is_cluster);
    if (!text)
        return -EINVAL;
    int err = 0;
    const char *slash = strchr(text, '/');
    const char *end = slash ? slash : text + strlen(text);
    const char *at = memrchr(text, '@', (size_t)(end - text));
    if (at)
        err = parse_login(text, (size_t)(at - text), &url);
    const char *address = at ? at + 1 : text;
    if (!err)
        err = parse_addresses(address, (size_t)(end - address), &url);
    if (!err && slash && slash[1])
        err = parse_db(slash + 1, &url);
    if (err) {
        store_url_done(&url);
        return err;
    }
    if (!at) {
        url.user = must_strdup("");
        url.password = must_strdup("");
    }
    *ret = url;
    return 0;
}

void store_url_follow(struct store_url *url, char *const *text) {
    struct store_url fresh;
    if (!text || store_url_parse(*text, &fresh) < 0)
        return;
    store_url_done(url);
    *url = fresh;
}

void store_url_done(struct store_url *url) {
    free(url->user);
    free(url->password);
    free(url->seeds);
    *url = (struct store_url){0};
}
