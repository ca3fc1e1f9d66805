/* Options and words; see words.h. */
#include "cli/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/text.h"

static const struct words_option *find(const struct words_option *options, size_t n,
                                       const char *word, size_t len) {
    for (size_t i = 0; i < n; i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, word, len) == 0)
            return &options[i];
    return NULL;
}

static bool fail(struct words *w, const char *option, const char *what) {
    snprintf(w->mistake, sizeof(w->mistake), "%.60s %s", option, what);
    return false;
}

static bool take_value(struct words *w, const struct words_option *o, const char *value) {
    uint64_t number;
    if (o->type == WORDS_TEXT) {
        *(const char **)o->ret = value;
        return *value || fail(w, o->name, "takes a value that is not empty.");
    }
    if (text_parse_number(value, strlen(value), &number) && number <= INT64_MAX &&
        (int64_t)number >= o->least && (int64_t)number <= o->most) {
        *(int64_t *)o->ret = (int64_t)number;
        return true;
    }
    snprintf(w->mistake, sizeof(w->mistake), "%s takes a number from %" PRId64 " to %" PRId64 ".",
             o->name, o->least, o->most);
    return false;
}

static bool take_option(struct words *w, const struct words_option *options, size_t n, char **argv,
                        int *i, int argc) {
    const char *word = argv[*i], *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    const struct words_option *o = find(options, n, word, len);
    if (!o)
        return fail(w, word, "is no option here.");
    if (o->type == WORDS_FLAG) {
        *(bool *)o->ret = true;
        return !equals || fail(w, o->name, "takes no value.");
    }
    if (!equals && *i + 1 == argc)
        return fail(w, o->name, "takes a value.");
    return take_value(w, o, equals ? equals + 1 : argv[++*i]);
}

bool words_parse(struct words *ret, int argc, char **argv, const struct words_option *options,
                 size_t n_options) {
    bool has_options = true;
    *ret = (struct words){0};
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (has_options && strcmp(word, "--") == 0) {
            has_options = false;
        } else if (has_options && word[0] == '-') {
            if (!take_option(ret, options, n_options, argv, &i, argc))
                return false;
        } else if (ret->n == WORDS_MAX) {
            return fail(ret, word, "is one word too many.");
        } else {
            ret->items[ret->n++] = word;
        }
    }
    return true;
}

int words_refuse(const char *command, const char *mistake) {
    fprintf(stderr, "handoff: %s\n\nTry handoff %s --help.\n", mistake, command);
    return 2;
}
