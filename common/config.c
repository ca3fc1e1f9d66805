/* Configuration from the environment, see config.h. Defaults come first, then what the environment
 * says of the rows that this service uses; every mistake is told, not only the first. */
#include "common/config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/uuid.h"
#include "common/config_file.h"
#include "common/config_table.h"

static char **text_field(struct config *c, const struct config_row *row) {
    return (char **)((char *)c + row->offset);
}

static void set_number(struct config *c, const struct config_row *row, int64_t number) {
    memcpy((char *)c + row->offset, &number, sizeof(number));
}

static void set_text(struct config *c, const struct config_row *row, const char *text) {
    char **field = text_field(c, row);
    free(*field);
    *field = must_strdup(text);
}

const char *config_environment_get(const char *const *environment, const char *name,
                                   const char *suffix) {
    size_t name_len = strlen(name), suffix_len = strlen(suffix);
    for (; *environment; environment++)
        if (strncmp(*environment, name, name_len) == 0 &&
            strncmp(*environment + name_len, suffix, suffix_len) == 0 &&
            (*environment)[name_len + suffix_len] == '=')
            return (*environment)[name_len + suffix_len + 1]
                       ? *environment + name_len + suffix_len + 1
                       : NULL;
    return NULL;
}

/* <host>-<pid>-<random>: unique also for containers, which share a host name or a pid 1. */
static char *make_instance(void) {
    char host[65], uuid[UUID_LEN + 1];
    if (gethostname(host, sizeof(host)) < 0)
        strcpy(host, "host");
    host[40] = '\0';
    for (char *c = host; *c; c++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-", *c))
            *c = '-';
    uuid_v4(uuid);
    struct buf name = BUF_NULL;
    buf_printf(&name, "%s-%d-%.8s", host, (int)getpid(), uuid);
    return buf_take(&name);
}

static void set_fallback(struct config *c, const struct config_row *row) {
    const char *fallback = config_row_fallback(row, c->service);
    _cleanup_(freep) char *made = fallback ? NULL : make_instance();
    int64_t number = 0;
    if (!config_type_is_number(row->type))
        set_text(c, row, fallback ? fallback : made);
    else if (config_value_parse(row, fallback, &number))
        set_number(c, row, number);
    else
        abort(); /* the table contradicts itself: the unit test sees it */
}

/* The value is not repeated for a secret or a URL: the message ends up in logs. */
static void complain(const struct config *c, const struct config_row *row, const char *value,
                     FILE *err) {
    struct buf allowed = BUF_NULL;
    config_value_allowed(row, &allowed);
    if (row->type == CONFIG_SECRET || row->type == CONFIG_URL)
        fprintf(err, "%s: %s has a bad value; allowed: %s\n", c->service_name, row->name,
                allowed.data);
    else
        fprintf(err, "%s: %s cannot be \"%.100s\"; allowed: %s\n", c->service_name, row->name,
                value, allowed.data);
    buf_done(&allowed);
}

static int take_value(struct config *c, const struct config_row *row, const char *value,
                      FILE *err) {
    int64_t number = 0;
    if (!config_value_parse(row, value, &number)) {
        complain(c, row, value, err);
        return -EINVAL;
    }
    if (config_type_is_number(row->type))
        set_number(c, row, number);
    else
        set_text(c, row, value);
    return 0;
}

static int take_file(struct config *c, const struct config_row *row, const char *path, FILE *err) {
    _cleanup_(freep) char *value = NULL;
    int r = config_file_read(path, &value);
    if (r == 0 && !*value && row->type == CONFIG_SECRET)
        return 0; /* as a variable that is empty: a rotation is over */
    if (r == 0)
        return take_value(c, row, value, err);
    fprintf(err, "%s: %s_FILE: cannot read %s: %s; allowed: a text file up to 64KiB\n",
            c->service_name, row->name, path, strerror(-r));
    return -EINVAL;
}

static int take_row(struct config *c, const struct config_row *row, const char *const *environment,
                    FILE *err) {
    const char *value = config_environment_get(environment, row->name, "");
    const char *path = config_row_may_be_file(row)
                           ? config_environment_get(environment, row->name, "_FILE")
                           : NULL;
    if (value && path) {
        fprintf(err, "%s: %s and %s_FILE are both given; one is allowed\n", c->service_name,
                row->name, row->name);
        return -EINVAL;
    }
    if (path)
        return take_file(c, row, path, err);
    return value ? take_value(c, row, value, err) : 0;
}

/* Until then Redis may still have a deleted session's tombstone. */
#define PURGE_LEAST_MS (24LL * 3600 * 1000)

static int check_purge(const struct config *c, FILE *err) {
    if (c->service != CONFIG_AUDIT_WRITER || !c->purge_after_ms ||
        c->purge_after_ms >= PURGE_LEAST_MS)
        return 0;
    fprintf(err, "%s: HANDOFF_PURGE_AFTER is too short; allowed: 0s (never), or 24h and more\n",
            c->service_name);
    return -EINVAL;
}

/* Mistakes that only several values together make. */
static int check_together(const struct config *c, FILE *err) {
    if (!(c->service & (CONFIG_SESSION_API | CONFIG_WS_FANOUT)))
        return check_purge(c, err);
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): each text has its default by now */
    if (*c->jwt_secret_previous && !*c->jwt_secret) {
        fprintf(err,
                "%s: HANDOFF_JWT_SECRET_PREVIOUS is given without HANDOFF_JWT_SECRET; allowed: "
                "both, or the latter alone\n",
                c->service_name);
        return -EINVAL;
    }
    return 0;
}

int config_load(enum config_service service, const char *const *environment, struct config *ret,
                FILE *err) {
    struct config c = {.service = service, .service_name = config_service_name(service)};
    for (const struct config_row *row = config_rows(); row->name; row++)
        if (!(row->services & service))
            set_fallback(&c, row);
    /* After the others: two rows may share a field, and the service's own counts. */
    for (const struct config_row *row = config_rows(); row->name; row++)
        if (row->services & service)
            set_fallback(&c, row);
    int r = 0;
    for (const struct config_row *row = config_rows(); row->name; row++)
        if ((row->services & service) && take_row(&c, row, environment, err) < 0)
            r = -EINVAL;
    if (config_refuse_unknown(c.service_name, environment, err) < 0)
        r = -EINVAL;
    if (r == 0)
        r = check_together(&c, err);
    if (r < 0)
        config_done(&c);
    else
        *ret = c;
    return r;
}

bool config_wants_quorum(const struct config *c) {
    return strcmp(c->queue_type, "quorum") == 0;
}

void config_done(struct config *c) {
    for (const struct config_row *row = config_rows(); row->name; row++)
        if (!config_type_is_number(row->type)) {
            free(*text_field(c, row));
            *text_field(c, row) = NULL;
        }
}
