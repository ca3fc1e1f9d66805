/* See metrics_text.h. */
#include "tools/handoff/metrics_text.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_MAX 1e15 /* the sum of a page of them still fits */

/* Of a line that ends early the number is not the next one's. */
static bool take_sample(const char *value, int64_t *ret) {
    value += strspn(value, " ");
    double number = isdigit((unsigned char)*value) ? strtod(value, NULL) : -1;
    if (number < 0 || number > SAMPLE_MAX)
        return false;
    *ret = (int64_t)number;
    return true;
}

/* A label's value may have blanks: the sample is behind the labels. */
static const char *skip_labels(const char *at) {
    if (*at == '{')
        at += strcspn(at, "}\n");
    return *at == '}' ? at + 1 : at;
}

int64_t metrics_text_sum(const char *metrics, const char *name) {
    size_t len = strlen(name);
    int64_t sum = -1, sample;
    for (const char *line = metrics; line && *line;) {
        bool is_it = strncmp(line, name, len) == 0 && (line[len] == '{' || line[len] == ' ');
        if (is_it && take_sample(skip_labels(line + len), &sample))
            sum = (sum < 0 ? 0 : sum) + sample;
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return sum;
}
