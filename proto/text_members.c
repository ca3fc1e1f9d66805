/* Reading an object's members by type; see text.h. */
#include "proto/text.h"

#include <inttypes.h>
#include <math.h>

static int wrong_type(const char *name, const char *expected, struct fault *f) {
    return (int)fault_set(f, FAULT_INVALID_REQUEST, name, "%s must be %s", name, expected);
}

/* 0 with *ret the member, or NULL where it may be absent. */
static int find_member(const json_t *object, const char *name, enum text_need need, json_t **ret,
                       struct fault *f) {
    json_t *member = json_object_get(object, name);
    if (!member && need == TEXT_REQUIRED)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, name, "%s is missing", name);
    *ret = member;
    return 0;
}

int text_get_string(const json_t *object, const char *name, enum text_need need, const char **ret,
                    struct fault *f) {
    json_t *member = NULL;
    int r = find_member(object, name, need, &member, f);
    if (r || !member)
        return r;
    if (!json_is_string(member))
        return wrong_type(name, "a string", f);
    *ret = json_string_value(member);
    return 0;
}

int text_get_bool(const json_t *object, const char *name, enum text_need need, bool *ret,
                  struct fault *f) {
    json_t *member = NULL;
    int r = find_member(object, name, need, &member, f);
    if (r || !member)
        return r;
    if (!json_is_boolean(member))
        return wrong_type(name, "true or false", f);
    *ret = json_is_true(member);
    return 0;
}

int text_get_integer(const json_t *object, const char *name, enum text_need need, int64_t least,
                     int64_t most, int64_t *ret, struct fault *f) {
    json_t *member = NULL;
    int r = find_member(object, name, need, &member, f);
    if (r || !member)
        return r;
    double number = json_number_value(member);
    if (!json_is_number(member) || number != trunc(number))
        return wrong_type(name, "an integer", f);
    /* Compared as doubles where the cast would overflow. */
    bool fits = fabs(number) < 0x1p63;
    if (!fits || (int64_t)number < least || (int64_t)number > most)
        return (int)fault_set(f, FAULT_INVALID_VALUE, name,
                              "%s is %.17g; %" PRId64 " to %" PRId64 " are allowed", name, number,
                              least, most);
    *ret = (int64_t)number;
    return 0;
}

int text_get_object(const json_t *object, const char *name, enum text_need need, json_t **ret,
                    struct fault *f) {
    json_t *member = NULL;
    int r = find_member(object, name, need, &member, f);
    if (r || !member)
        return r;
    if (!json_is_object(member))
        return wrong_type(name, "an object", f);
    *ret = member;
    return 0;
}

int text_get_array(const json_t *object, const char *name, enum text_need need, json_t **ret,
                   struct fault *f) {
    json_t *member = NULL;
    int r = find_member(object, name, need, &member, f);
    if (r || !member)
        return r;
    if (!json_is_array(member))
        return wrong_type(name, "an array", f);
    *ret = member;
    return 0;
}
