/* Configuration values: what a text means, what is allowed, and how it is shown without its
 * secrets. Values are strict (a duration has a unit) so that a mistake stops the start instead of
 * the night. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/network.h"
#include "common/config_table.h"
#include "common/origins.h"

#define CODE_URL_MAX 256

struct unit {
    const char *name;
    int64_t factor;
};

/* From the largest to the smallest: how config_value_print_number picks. */
static const struct unit duration_units[] = {
    {"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
static const struct unit size_units[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
                                         {"B", 1},         {"", 1},          {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

bool config_type_is_number(enum config_type type) {
    return type >= CONFIG_BOOLEAN;
}

static const struct unit *units_of(enum config_type type) {
    return type == CONFIG_DURATION ? duration_units : type == CONFIG_SIZE ? size_units : no_units;
}

static bool parse_number(const struct config_row *row, const char *text, int64_t *ret) {
    int64_t n = 0, whole;
    const char *at = text;
    for (; isdigit((unsigned char)*at); at++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *at - '0', &n))
            return false;
    if (at == text)
        return false;
    for (const struct unit *unit = units_of(row->type); unit->name; unit++)
        if (strcasecmp(at, unit->name) == 0) {
            if (__builtin_mul_overflow(n, unit->factor, &whole) || whole < row->least ||
                whole > row->most)
                return false;
            *ret = whole;
            return true;
        }
    return false;
}

/* Up to six digits behind the point. */
static bool parse_ratio(const char *text, int64_t *ret) {
    int64_t n = 0, digit = CONFIG_RATIO_ONE;
    if (*text != '0' && *text != '1')
        return false;
    n = (*text++ - '0') * digit;
    if (*text == '.' && isdigit((unsigned char)text[1]))
        for (text++; digit > 1 && isdigit((unsigned char)*text); text++)
            n += (*text - '0') * (digit /= 10);
    if (*text || n > CONFIG_RATIO_ONE)
        return false;
    *ret = n;
    return true;
}

static bool parse_boolean(const char *text, int64_t *ret) {
    static const char *const words[][2] = {
        {"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < N_ELEMENTS(words); i++)
        for (int64_t value = 0; value < 2; value++)
            if (strcasecmp(text, words[i][value]) == 0) {
                *ret = value;
                return true;
            }
    return false;
}

static bool is_one_of(const char *choices, const char *text, size_t len) {
    for (const char *at = choices; *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, text, len) == 0)
            return true;
        at += n;
    }
    return false;
}

static bool is_list(const char *choices, const char *text) {
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        if (!is_one_of(choices, at, len))
            return false;
        for (const char *before = text; before < at; before += strcspn(before, ",") + 1)
            if (strcspn(before, ",") == len && memcmp(before, at, len) == 0)
                return false;
        at += len;
        if (!*at)
            return true;
    }
}

static bool is_name(const char *text) {
    size_t len = strlen(text);
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return len >= 1 && len <= 64 && strspn(text, allowed) == len;
}

static bool is_port(const char *text) {
    size_t len = strlen(text);
    return len >= 1 && len <= 5 && strspn(text, "0123456789") == len && atoi(text) <= 65535;
}

static bool is_address(const char *text) {
    const char *colon = strrchr(text, ':');
    if (!colon || !is_port(colon + 1))
        return false;
    size_t host = (size_t)(colon - text);
    if (text[0] == '[')
        return host > 3 && text[host - 1] == ']' &&
               strspn(text + 1, "0123456789abcdefABCDEF:.") == host - 2;
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
    return host >= 1 && host <= 255 && strspn(text, allowed) == host;
}

static bool is_url(const char *choices, const char *text) {
    const char *after = strstr(text, "://");
    return after && after[3] && !strpbrk(text, " \"<>") &&
           is_one_of(choices, text, (size_t)(after - text));
}

/* What an app registered may have any scheme. The bound keeps its QR code small enough to be
 * scanned. */
static bool is_code_url(const char *text) {
    static const char code[] = "{code}";
    const char *after = strstr(text, "://"), *at = strstr(text, code);
    size_t scheme = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    return after && scheme > 0 && text + scheme == after && at && at > after + 2 &&
           !strstr(at + 1, code) && !strpbrk(text, " \"<>") && strlen(text) <= CODE_URL_MAX;
}

static bool is_networks(const char *text) {
    struct network network;
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        if (!network_parse(at, len, &network))
            return false;
        at += len;
        if (!*at)
            return true;
    }
}

static bool is_printable(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    return true;
}

bool config_value_parse(const struct config_row *row, const char *text, int64_t *ret_number) {
    if (row->type != CONFIG_SECRET && !is_printable(text))
        return false;
    switch (row->type) {
    case CONFIG_TEXT:
    case CONFIG_PATH:
        return true;
    case CONFIG_NAME:
        return is_name(text);
    case CONFIG_CHOICE:
        return is_one_of(row->choices, text, strlen(text));
    case CONFIG_LIST:
        return is_list(row->choices, text);
    case CONFIG_ORIGINS:
        return origins_are_valid(text);
    case CONFIG_NETWORKS:
        return is_networks(text);
    case CONFIG_ADDRESS:
        return is_address(text);
    case CONFIG_URL:
        return is_url(row->choices, text);
    case CONFIG_CODE_URL:
        return is_code_url(text);
    case CONFIG_SECRET:
        return strlen(text) >= (size_t)row->least;
    case CONFIG_BOOLEAN:
        return parse_boolean(text, ret_number);
    case CONFIG_INTEGER:
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        return parse_number(row, text, ret_number);
    case CONFIG_RATIO:
        return parse_ratio(text, ret_number);
    }
    return false;
}

static void allow_range(const struct config_row *row, const char *what, struct buf *out) {
    buf_printf(out, "%s from ", what);
    config_value_print_number(row->type, row->least, out);
    buf_puts(out, " to ");
    config_value_print_number(row->type, row->most, out);
}

static void allow_choices(const char *start, const char *separator, const char *choices,
                          struct buf *out) {
    buf_puts(out, start);
    for (; *choices; choices++)
        if (*choices == ' ')
            buf_puts(out, separator);
        else
            buf_putc(out, *choices);
}

void config_value_allowed(const struct config_row *row, struct buf *out) {
    switch (row->type) {
    case CONFIG_TEXT:
        return buf_puts(out, "any text without control characters");
    case CONFIG_PATH:
        return buf_puts(out, "a path");
    case CONFIG_NAME:
        return buf_puts(out, "1 to 64 of A-Z a-z 0-9 . _ -");
    case CONFIG_CHOICE:
        return allow_choices("one of ", ", ", row->choices, out);
    case CONFIG_LIST:
        return allow_choices("comma-separated, without spaces: ", ", ", row->choices, out);
    case CONFIG_ORIGINS:
        return buf_puts(out, "*, or comma-separated origins such as https://app.example.com, "
                             "without a path or slash at the end; any port of a loopback host: "
                             "http://localhost:*");
    case CONFIG_NETWORKS:
        return buf_puts(out,
                        "comma-separated addresses, or networks such as 10.0.0.0/8 and fd00::/8 "
                        "without further bits");
    case CONFIG_ADDRESS:
        return buf_puts(out, "host:port or [IPv6]:port, port 0 to 65535");
    case CONFIG_URL:
        allow_choices("a URL that starts with ", ":// or ", row->choices, out);
        return buf_puts(out, "://");
    case CONFIG_CODE_URL:
        return buf_printf(out, "a URL of up to %d bytes with {code} in it once", CODE_URL_MAX);
    case CONFIG_SECRET:
        return buf_printf(out, "at least %lld bytes", (long long)row->least);
    case CONFIG_BOOLEAN:
        return buf_puts(out, "true or false (also yes, no, on, off, 1, 0)");
    case CONFIG_INTEGER:
        return allow_range(row, "a whole number", out);
    case CONFIG_DURATION:
        return allow_range(row, "a duration with its unit (ms, s, m, h)", out);
    case CONFIG_SIZE:
        return allow_range(row, "bytes, or a size with its unit (B, KiB, MiB, GiB)", out);
    case CONFIG_RATIO:
        return buf_puts(out, "a number from 0 to 1 with up to 6 digits behind the point");
    }
}

static void print_ratio(int64_t number, struct buf *out) {
    char digits[16];
    int len = snprintf(digits, sizeof(digits), "%lld.%06lld", (long long)number / CONFIG_RATIO_ONE,
                       (long long)number % CONFIG_RATIO_ONE);
    while (len > 0 && digits[len - 1] == '0')
        digits[--len] = '\0';
    if (len > 0 && digits[len - 1] == '.')
        digits[len - 1] = '\0';
    buf_puts(out, digits);
}

void config_value_print_number(enum config_type type, int64_t number, struct buf *out) {
    if (type == CONFIG_BOOLEAN)
        return buf_puts(out, number ? "true" : "false");
    if (type == CONFIG_RATIO)
        return print_ratio(number, out);
    for (const struct unit *unit = units_of(type); unit->name; unit++)
        if (number % unit->factor == 0 && (number || unit->factor == 1 || !unit[1].name)) {
            buf_put_i64(out, number / unit->factor);
            return buf_puts(out, unit->name);
        }
}

/* Values of parameters such as ?password= of a postgres:// URL: libpq names its secrets so. */
static void print_query(const char *query, struct buf *out) {
    while (*query) {
        size_t len = strcspn(query, "&"), name = strcspn(query, "=&");
        bool secret = name < len && memmem(query, name, "password", strlen("password"));
        buf_put(out, query, secret ? name + 1 : len);
        if (secret)
            buf_puts(out, "***");
        query += len;
        if (*query)
            buf_putc(out, *query++);
    }
}

/* A password may hold a raw / or @ by mistake, so everything up to the last @ counts as user and
 * password: rather too little is shown than too much. */
static void print_url_start(const char *url, size_t len, struct buf *out) {
    const char *start = memmem(url, len, "://", 3);
    start = start ? start + 3 : url;
    size_t left = len - (size_t)(start - url);
    const char *at = memrchr(start, '@', left);
    const char *colon = at ? memchr(start, ':', (size_t)(at - start)) : NULL;
    if (!colon)
        return buf_put(out, url, len);
    buf_put(out, url, (size_t)(colon + 1 - url));
    buf_puts(out, "***");
    buf_put(out, at, (size_t)(url + len - at));
}

/* In the query of what is no database's address any word may be a key (?api_key=), so none is
 * shown; nor where an @ behind the ? leaves open what is query and what password. */
static void print_url(const char *url, struct buf *out) {
    size_t len = strcspn(url, "?");
    const char *scheme = memmem(url, len, "://", 3);
    if (strchr(url + len, '@')) {
        buf_put(out, url, scheme ? (size_t)(scheme + 3 - url) : 0);
        return buf_puts(out, "***");
    }
    print_url_start(url, len, out);
    if (strncmp(url, "postgres", strlen("postgres")) == 0)
        print_query(url + len, out);
    else if (url[len])
        buf_puts(out, "?***");
}

void config_value_print_text(enum config_type type, const char *text, struct buf *out) {
    if (type == CONFIG_SECRET)
        buf_puts(out, *text ? "***" : "");
    else if (type == CONFIG_URL)
        print_url(text, out);
    else
        buf_puts(out, text);
}
