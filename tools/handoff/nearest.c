/* See nearest.h: the distance of Damerau and Levenshtein (optimal string alignment), by three rows
 * of its table. */
#include "tools/handoff/nearest.h"

#include <string.h>

#define FAR 3

static size_t least_of(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len) {
    size_t rows[3][NEAREST_MAX + 1];
    for (size_t k = 0; k <= b_len; k++)
        rows[0][k] = k;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 3];
        const size_t *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t k = 1; k <= b_len; k++) {
            size_t changed = before[k - 1] + (a[i - 1] != b[k - 1]);
            now[k] = least_of(changed, 1 + least_of(before[k], now[k - 1]));
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                now[k] = least_of(now[k], earlier[k - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

static const char *begun(const char *word, size_t len, const char *const *names, size_t n) {
    const char *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(names[i], word, len) != 0)
            continue;
        if (found)
            return NULL; /* two of them */
        found = names[i];
    }
    return found;
}

const char *nearest(const char *word, size_t len, const char *const *names, size_t n) {
    size_t n_dashes = strspn(word, "-"), best = FAR;
    if (len > NEAREST_MAX || len < n_dashes + 2)
        return NULL;
    const char *found = begun(word, len, names, n);
    for (size_t i = 0; i < n && !(found && best == FAR); i++) {
        size_t name_len = strlen(names[i]);
        size_t off = name_len > NEAREST_MAX ? FAR : distance(word, len, names[i], name_len);
        if (off >= best || off * 2 >= len - n_dashes)
            continue;
        best = off;
        found = names[i];
    }
    return found;
}
