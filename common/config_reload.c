/* A configuration read again; see config_reload.h. The environment of a process cannot change: what
 * differs is what came from files. */
#include "common/config_reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/config_table.h"

static char **text_field(struct config *c, const struct config_row *row) {
    return (char **)((char *)c + row->offset);
}

static const char *text_of(const struct config *c, const struct config_row *row) {
    const char *text;
    memcpy(&text, (const char *)c + row->offset, sizeof(text));
    return text;
}

static void add_name(struct buf *names, const char *name) {
    buf_printf(names, "%s%s", names->len ? " " : "", name);
}

static void set_back(struct config *fresh, const struct config *now, const struct config_row *row) {
    char **field = text_field(fresh, row);
    free(*field);
    *field = must_strdup(text_of(now, row));
}

/* ---- user and password of a URL ---- */

struct login {
    const char *at;   /* behind :// */
    size_t len;       /* 0: none */
    const char *rest; /* behind @, or where that would be */
};

static struct login login_of(const char *url) {
    const char *from = strstr(url, "://");
    if (!from)
        return (struct login){url, 0, url};
    from += 3;
    const char *at = memrchr(from, '@', strcspn(from, "/?#"));
    return at ? (struct login){from, (size_t)(at - from), at + 1} : (struct login){from, 0, from};
}

static bool is_same_place(const char *one, const char *other) {
    struct login a = login_of(one), b = login_of(other);
    return a.at - one == b.at - other && strncmp(one, other, (size_t)(a.at - one)) == 0 &&
           strcmp(a.rest, b.rest) == 0;
}

static bool is_hex(char c) {
    return c && strchr("0123456789abcdefABCDEF", c);
}

/* As each library wants it: the URL was checked when the service started, and only this is new. */
static bool is_login(const char *url) {
    struct login login = login_of(url);
    const char *colon = memchr(login.at, ':', login.len);
    bool needs_password = strncmp(url, "postgres", 8) != 0;
    if (login.rest == login.at)
        return true;
    if (needs_password && (!colon || colon + 1 == login.at + login.len))
        return false;
    for (size_t i = 0; i < login.len; i++)
        if (login.at[i] == '%' && (!is_hex(login.at[i + 1]) || !is_hex(login.at[i + 2]) ||
                                   (login.at[i + 1] == '0' && login.at[i + 2] == '0')))
            return false;
    return true;
}

/* ---- the whole ---- */

/* Whether the row's new value may be taken. */
static bool may_change(const struct config_row *row, const char *was, const char *is) {
    return row->reload == CONFIG_RELOADS ||
           (row->reload == CONFIG_RELOADS_LOGIN && is_same_place(was, is));
}

int config_reload_judge(struct config *fresh, const struct config *now, struct buf *changes,
                        struct buf *need_restart, FILE *err) {
    int r = 0;
    for (const struct config_row *row = config_rows(); row->name; row++) {
        if (!(row->services & (unsigned)now->service) || config_type_is_number(row->type))
            continue;
        const char *was = text_of(now, row), *is = text_of(fresh, row);
        if (strcmp(was, is) == 0)
            continue;
        if (!may_change(row, was, is)) {
            if (config_row_may_be_file(row)) /* else: a name that was made up */
                add_name(need_restart, row->name);
            set_back(fresh, now, row);
            continue;
        }
        add_name(changes, row->name);
        if (row->reload != CONFIG_RELOADS_LOGIN || is_login(is))
            continue;
        fprintf(err,
                "%s: %s has a bad user or password; allowed: user:password, other bytes than "
                "letters and digits as %%XX\n",
                now->service_name, row->name);
        r = -EINVAL;
    }
    return r;
}

void config_reload_take(struct config *now, struct config *fresh) {
    for (const struct config_row *row = config_rows(); row->name; row++) {
        if (!(row->services & (unsigned)now->service) ||
            (row->reload != CONFIG_RELOADS && row->reload != CONFIG_RELOADS_LOGIN))
            continue;
        char *was = *text_field(now, row);
        *text_field(now, row) = *text_field(fresh, row);
        *text_field(fresh, row) = was;
    }
}
