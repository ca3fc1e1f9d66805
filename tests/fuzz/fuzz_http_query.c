/* Input: a parameter's name, a newline, a request's target. What is found is what a second reading
 * finds, which takes the query apart first; unescaped means unescaped. */
#include <ctype.h>

#include "common/http_parts.h"
#include "common/http_server.h"
#include "fuzz_json.h"

static int hex(char c) {
    const char digits[] = {c, '\0'};
    return isxdigit((unsigned char)c) ? (int)strtol(digits, NULL, 16) : -1;
}

static void unescape(char *text) {
    char *to = text;
    for (const char *at = text; *at; at++) {
        int high = *at == '%' ? hex(at[1]) : -1, low = high >= 0 ? hex(at[2]) : -1;
        bool is_escaped = low >= 0 && (high || low);
        *to++ = (char)(is_escaped ? high * 16 + low : *at == '+' ? ' ' : *at);
        at += is_escaped ? 2 : 0;
    }
    *to = '\0';
}

/* The first one's value, owned, or NULL. */
static char *find_slowly(const char *query, const char *name, size_t *ret_n) {
    char *copy = must_strdup(query), *at = copy, *found = NULL;
    *ret_n = 0;
    while (at) {
        char *part = strsep(&at, "&"), *value = strchr(part, '=');
        bool is_empty = !*part;
        if (value)
            *value++ = '\0';
        unescape(part);
        if (is_empty || strcmp(part, name) != 0)
            continue;
        if ((*ret_n)++ == 0) {
            found = must_strdup(value ? value : "");
            unescape(found);
        }
    }
    free(copy);
    return found;
}

static void check_request(const char *target, const char *name) {
    struct http_request *r = http_request_new(target);
    bool is_twice = false;
    size_t n = 0, path_len = strcspn(target, "?");
    must_hold(strlen(http_path(r)) == path_len && strncmp(http_path(r), target, path_len) == 0);
    const char *found = http_query(r, name, &is_twice);
    char *slowly = find_slowly(target[path_len] ? target + path_len + 1 : "", name, &n);
    must_hold(!found == !slowly && (!found || strcmp(found, slowly) == 0));
    must_hold(is_twice == (n > 1));
    free(slowly);
    http_request_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *newline = strchr(text, '\n');
    if (newline)
        *newline = '\0';
    check_request(newline ? newline + 1 : text, newline ? text : "limit");
    free(text);
    return 0;
}
