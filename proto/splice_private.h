/* Private to splice*.c: places in canonical text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A place in a container: of a value that is there, or where one may be put. */
struct place {
    const char *start; /* of the member or element; where it would start */
    const char *value; /* NULL: nothing is there */
    const char *end;   /* of the value */
    bool in_object;
    bool has_before; /* a neighbour in front */
    bool has_after;
};

struct token {
    const char *name; /* borrowed from the path */
    size_t len;
};

/* The place of the token in the container that the text begins with. Of one that is not the path's
 * last the value is all that is looked for, so that each byte before it is gone over once: ret->end
 * is the given end. False: there can be none, or the text is not canonical. */
bool splice_find(const char *at, const char *end, const struct token *token, bool is_last,
                 struct place *ret);
