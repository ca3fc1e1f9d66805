/* Where Redis is: what is taken, written again with everything escaped, is taken as the same. */
#include <ctype.h>
#include <stdio.h>

#include "common/store_private.h"
#include "fuzz_json.h"

static void put_escaped(struct buf *out, const char *text) {
    for (; *text; text++)
        buf_printf(out, "%%%02X", (unsigned char)*text);
}

static void print(const struct store_url *u, struct buf *out) {
    buf_puts(out, u->is_cluster ? "redis+cluster://" : "redis://");
    if (*u->password) {
        put_escaped(out, u->user);
        buf_putc(out, ':');
        put_escaped(out, u->password);
        buf_putc(out, '@');
    }
    for (size_t i = 0; i < u->n_seeds; i++) {
        bool is_v6 = strchr(u->seeds[i].host, ':') != NULL;
        buf_printf(out, is_v6 ? "%s[%s]:%d" : "%s%s:%d", i ? "," : "", u->seeds[i].host,
                   u->seeds[i].port);
    }
    if (u->db)
        buf_printf(out, "/%d", u->db);
}

static void check_escapes(const char *text) {
    const char *from = strstr(text, "://") + 3, *to = from + strcspn(from, "/");
    const char *end = memrchr(from, '@', (size_t)(to - from));
    for (const char *at = from; end && at < end; at++)
        must_hold(*at != '%' || (isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2])));
}

static void check(const struct store_url *u) {
    struct buf text = BUF_NULL;
    struct store_url again;
    must_hold(u->n_seeds >= 1 && u->n_seeds <= (u->is_cluster ? STORE_MAX_SEEDS : 1));
    must_hold(u->db >= 0 && u->db <= (u->is_cluster ? 0 : 65535));
    print(u, &text);
    must_hold(store_url_parse(text.data, &again) == 0);
    must_hold(strcmp(again.user, u->user) == 0 && strcmp(again.password, u->password) == 0);
    must_hold(again.is_cluster == u->is_cluster && again.n_seeds == u->n_seeds &&
              again.db == u->db);
    for (size_t i = 0; i < u->n_seeds; i++) {
        must_hold(u->seeds[i].port >= 1 && u->seeds[i].port <= 65535 && u->seeds[i].host[0]);
        must_hold(strcmp(u->seeds[i].host, again.seeds[i].host) == 0 &&
                  u->seeds[i].port == again.seeds[i].port);
    }
    store_url_done(&again);
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size);
    struct store_url u;
    if (store_url_parse(text, &u) == 0) {
        check_escapes(text);
        check(&u);
        store_url_done(&u);
    }
    free(text);
    return 0;
}
