/* The table for people: --help, the values of --check-config, docs/CONFIG.md. */
#include <string.h>

#include "common/config.h"
#include "common/config_file.h"
#include "common/config_table.h"

static void print_allowed(const struct config_row *row, FILE *out) {
    struct buf allowed = BUF_NULL;
    config_value_allowed(row, &allowed);
    fputs(allowed.data, out);
    buf_done(&allowed);
}

static const char *show_fallback(const struct config_row *row, enum config_service service) {
    const char *fallback = config_row_fallback(row, service);
    if (!fallback)
        return "<host>-<pid>-<random>";
    return *fallback ? fallback : "none";
}

void config_print_help(enum config_service service, FILE *out) {
    const char *name = config_service_name(service);
    fprintf(out,
            "usage: %s [--help | --version | --check-config | --is-ready]\n\n"
            "Handoff's %s. Configured by environment; an empty variable counts as not given.\n"
            "A name marked * may end in _FILE instead: the value is then read from that file.\n",
            name, name);
    config_print_rows(service, out);
}

void config_print_rows(enum config_service service, FILE *out) {
    for (const struct config_row *row = config_rows(); row->name; row++) {
        if (!(row->services & service))
            continue;
        fprintf(out, "\n  %s%s\n      %s\n      default: %s; ", row->name,
                config_row_may_be_file(row) ? " *" : "", row->help, show_fallback(row, service));
        print_allowed(row, out);
        fputc('\n', out);
    }
}

static const char *source_of(const struct config_row *row, const char *const *environment) {
    if (config_environment_get(environment, row->name, ""))
        return "environment";
    if (config_row_may_be_file(row) && config_environment_get(environment, row->name, "_FILE"))
        return "file";
    return "default";
}

/* What is set, as it would be given, without secrets; never NULL. */
static void show_value(const struct config *c, const struct config_row *row, struct buf *out) {
    const char *field = (const char *)c + row->offset;
    if (config_type_is_number(row->type)) {
        int64_t number;
        memcpy(&number, field, sizeof(number));
        config_value_print_number(row->type, number, out);
    } else {
        const char *text;
        memcpy(&text, field, sizeof(text));
        config_value_print_text(row->type, text, out);
    }
    buf_puts(out, "");
}

void config_print_values(const struct config *c, const char *const *environment, FILE *out) {
    for (const struct config_row *row = config_rows(); row->name; row++) {
        if (!(row->services & (unsigned)c->service))
            continue;
        struct buf value = BUF_NULL;
        show_value(c, row, &value);
        fprintf(out, "%s=%s  (%s)\n", row->name, value.data, source_of(row, environment));
        buf_done(&value);
    }
}

void config_print_json(const struct config *c, const char *const *environment, FILE *out) {
    const char *separator = "";
    for (const struct config_row *row = config_rows(); row->name; row++) {
        if (!(row->services & (unsigned)c->service))
            continue;
        struct buf value = BUF_NULL, json = BUF_NULL;
        show_value(c, row, &value);
        buf_puts_json(&json, value.data);
        fprintf(out, "%s{\"name\":\"%s\",\"value\":%s,\"source\":\"%s\"}", separator, row->name,
                json.data, source_of(row, environment));
        separator = ",";
        buf_done(&value);
        buf_done(&json);
    }
}

static void print_services(const struct config_row *row, FILE *out) {
    if ((row->services & CONFIG_ALL) == CONFIG_ALL) {
        fputs("all", out);
        return;
    }
    const char *separator = "";
    for (unsigned bit = 1; bit < CONFIG_ALL; bit <<= 1)
        if (row->services & bit) {
            fprintf(out, "%s%s", separator, config_service_name(bit));
            separator = ", ";
        }
}

/* One default, or each service's own. */
static void print_fallbacks(const struct config_row *row, FILE *out) {
    const char *separator = "";
    for (unsigned bit = 1; bit < CONFIG_ALL; bit <<= 1) {
        if (!(row->services & bit))
            continue;
        fprintf(out, "%s`%s`", separator, show_fallback(row, bit));
        if (!row->by_service[0] && !row->by_service[1])
            return;
        fprintf(out, " %s", config_service_name(bit));
        separator = ", ";
    }
}

static void print_reload(const struct config_row *row, FILE *out) {
    static const char *const texts[] = {
        [CONFIG_RELOADS] = "from its file",
        [CONFIG_RELOADS_LOGIN] = "user and password, from its file; used with the next connection",
        [CONFIG_RELOADS_CONTENTS] = "what is there, not where it is",
    };
    if (texts[row->reload])
        fprintf(out, "\n- Read again on SIGHUP: %s", texts[row->reload]);
}

void config_print_markdown(FILE *out) {
    fputs(
        "# Configuration\n\n"
        "Made from the table in `common/config_table.c` by `<service> --config-markdown`; a unit\n"
        "test holds them equal.\n\n"
        "Every service is configured by its environment. `<service> --help` prints the names that\n"
        "it uses, `<service> --check-config` tests the environment and prints the effective "
        "values\n"
        "with their sources, secrets redacted. A bad value, or a `HANDOFF_` name that no service\n"
        "knows, ends the start with exit code 2. An empty variable counts as not given. What\n"
        "Kubernetes injects for a Service (`…_SERVICE_HOST`, `…_SERVICE_PORT*`, `…_PORT`,\n"
        "`…_PORT_<n>_*`) is ignored. Names marked * may end in `_FILE` instead: the value is then\n"
        "read from that file, less one trailing newline; giving both is a mistake. What a service\n"
        "reads again on SIGHUP says so; all else stays until it is started again.\n",
        out);
    for (const struct config_row *row = config_rows(); row->name; row++) {
        fprintf(out, "\n## %s%s\n%s\n\n- Used by: ", row->name,
                config_row_may_be_file(row) ? " *" : "", row->help);
        print_services(row, out);
        fputs("\n- Default: ", out);
        print_fallbacks(row, out);
        fputs("\n- Allowed: ", out);
        print_allowed(row, out);
        print_reload(row, out);
        fputc('\n', out);
    }
}
