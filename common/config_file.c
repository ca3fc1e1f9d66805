/* Names in the environment, and secrets from files (as orchestrators mount them); see
 * config_file.h. */
#include "common/config_file.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "common/config_table.h"

#define FILE_MAX (64u << 10)

static bool ends_with(const char *text, size_t len, const char *end) {
    size_t n = strlen(end);
    return len >= n && memcmp(text + len - n, end, n) == 0;
}

/* For a Service "handoff-x" Kubernetes injects HANDOFF_X_SERVICE_HOST, …_SERVICE_PORT[_<name>],
 * …_PORT, and …_PORT_<n>_<protocol>[_…]. */
static bool is_kubernetes(const char *name, size_t len) {
    if (ends_with(name, len, "_SERVICE_HOST") || ends_with(name, len, "_PORT"))
        return true;
    if (memmem(name, len, "_SERVICE_PORT", strlen("_SERVICE_PORT")))
        return true;
    const char *at = memmem(name, len, "_PORT_", strlen("_PORT_"));
    if (!at)
        return false;
    at += strlen("_PORT_");
    size_t digits = strspn(at, "0123456789");
    return digits > 0 && at[digits] == '_';
}

static bool is_known(const char *name, size_t len) {
    for (const struct config_row *row = config_rows(); row->name; row++) {
        size_t n = strlen(row->name);
        if (len < n || memcmp(name, row->name, n) != 0)
            continue;
        if (len == n ||
            (config_row_may_be_file(row) && len == n + 5 && memcmp(name + n, "_FILE", 5) == 0))
            return true;
    }
    return false;
}

int config_refuse_unknown(const char *service_name, const char *const *environment, FILE *err) {
    int r = 0;
    for (; *environment; environment++) {
        const char *name = *environment;
        size_t len = strcspn(name, "=");
        if (strncmp(name, "HANDOFF_", 8) != 0 || is_known(name, len) || is_kubernetes(name, len))
            continue;
        fprintf(err, "%s: %.*s is not known to any service\n", service_name, (int)len, name);
        r = -EINVAL;
    }
    if (r < 0) {
        fprintf(err, "%s: allowed:", service_name);
        for (const struct config_row *row = config_rows(); row->name; row++)
            fprintf(err, " %s%s", row->name, config_row_may_be_file(row) ? "[_FILE]" : "");
        fprintf(err, "\n");
    }
    return r;
}

int config_file_read(const char *path, char **ret) {
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    _cleanup_(freep) char *text = must_alloc(FILE_MAX + 2);
    size_t len = fread(text, 1, FILE_MAX + 1, file);
    int r = ferror(file) ? -EIO : len > FILE_MAX ? -EFBIG : memchr(text, '\0', len) ? -EINVAL : 0;
    fclose(file);
    if (r < 0)
        return r;
    if (len > 0 && text[len - 1] == '\n')
        text[len - 1] = '\0';
    *ret = TAKE_PTR(text);
    return 0;
}
