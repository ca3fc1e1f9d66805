/* Input: "NAME=value", a row of the configuration and what it is set to. What is taken is what the
 * type promises, and what is printed of it gives nothing away. */
#include "base/network.h"
#include "common/config_table.h"
#include "common/http_parts.h"
#include "fuzz_json.h"

static void check_address(const char *text) {
    char *copy = must_strdup(text);
    const char *host, *port;
    must_hold(http_split_address(copy, &host, &port) && atoi(port) <= 65535);
    free(copy);
}

static void check_networks(const char *text) {
    struct network n;
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        must_hold(network_parse(at, len, &n));
        at += len;
        if (!*at)
            return;
    }
}

/* Neither the password before the last @ nor one in the query. */
static void check_url(const struct config_row *row, const char *text, const char *shown) {
    const char *start = strstr(text, "://") + 3, *at = strrchr(start, '@');
    const char *colon = at ? memchr(start, ':', (size_t)(at - start)) : NULL;
    must_hold(*row->choices && *start);
    if (colon && at - colon > 8) {
        char *password = must_memdup(colon, (size_t)(at - colon) + 1);
        size_t before = (size_t)(colon - text); /* the same may stand there */
        must_hold(strlen(shown) <= before || !strstr(shown + before, password));
        free(password);
    }
}

static void check_taken(const struct config_row *row, const char *text, int64_t number) {
    struct buf shown = BUF_NULL;
    if (config_type_is_number(row->type)) {
        int64_t again = 0;
        config_value_print_number(row->type, number, &shown);
        must_hold(config_value_parse(row, shown.data, &again) && again == number);
    } else {
        config_value_print_text(row->type, text, &shown);
        must_hold(row->type == CONFIG_URL || row->type == CONFIG_SECRET ||
                  strcmp(shown.data ? shown.data : "", text) == 0);
    }
    if (row->type == CONFIG_ADDRESS)
        check_address(text);
    if (row->type == CONFIG_NETWORKS)
        check_networks(text);
    if (row->type == CONFIG_URL)
        check_url(row, text, shown.data);
    if (row->type == CONFIG_CODE_URL)
        must_hold(strstr(text, "{code}") && strlen(text) <= 256);
    buf_done(&shown);
}

static const struct config_row *find_row(const char *name) {
    const struct config_row *row = config_rows();
    while (row->name && strcmp(row->name, name) != 0)
        row++;
    return row->name ? row : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf allowed = BUF_NULL;
    int64_t number = 0;
    char *text = fuzz_text(data, size), *value = strchr(text, '=');
    if (value)
        *value++ = '\0';
    const struct config_row *row = value ? find_row(text) : NULL;
    if (row) {
        if (config_value_parse(row, value, &number))
            check_taken(row, value, number);
        config_value_allowed(row, &allowed);
        must_hold(allowed.len > 0);
    }
    buf_done(&allowed);
    free(text);
    return 0;
}
