/* Query parameters; see parameters.h. */
#include "services/session_api/parameters.h"

#include <inttypes.h>
#include <string.h>

int parameters_text(struct http_request *r, const char *name, const char **ret, struct fault *f) {
    bool is_twice = false;
    const char *text = http_query(r, name, &is_twice);
    if (is_twice)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, name, "%s is there twice", name);
    if (text)
        *ret = text;
    return 0;
}

int parameters_number(struct http_request *r, const char *name, uint64_t least, uint64_t most,
                      uint64_t *ret, struct fault *f) {
    const char *text = NULL;
    int err = parameters_text(r, name, &text, f);
    if (err || !text)
        return err;
    size_t len = strlen(text);
    if (len == 0 || strspn(text, "0123456789") != len)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, name, "%s must be a whole number", name);
    uint64_t n = len < 20 ? strtoull(text, NULL, 10) : UINT64_MAX;
    if (n < least || n > most)
        return (int)fault_set(f, FAULT_INVALID_VALUE, name, "%s must be %" PRIu64 " to %" PRIu64,
                              name, least, most);
    *ret = n;
    return 0;
}
