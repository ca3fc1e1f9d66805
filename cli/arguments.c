/* The command line; see arguments.h. */
#include "cli/arguments.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/text.h"

extern char **environ;

int arguments_mistake(const char *command, const char *format, ...) {
    va_list list;
    fputs("handoff: ", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\n\nTry handoff %s%s--help.\n", command, *command ? " " : "");
    return 2;
}

static const struct argument *find(const struct argument *options, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

/* How many of argv it takes, or 0 for a mistake. */
static int take(const struct argument *option, int n_left, char **at, const char *command) {
    if (option->flag) {
        *option->flag = true;
        return 1;
    }
    if (n_left < 2) {
        arguments_mistake(command, "%s takes a value.", option->name);
        return 0;
    }
    if (*option->value) {
        arguments_mistake(command, "%s is given twice.", option->name);
        return 0;
    }
    *option->value = at[1];
    return 2;
}

bool arguments_read(int argc, char **argv, const struct argument *options, size_t n,
                    size_t *ret_n_words) {
    size_t n_words = 0;
    bool is_over = false; /* "--" was there: the rest are words */
    for (int i = 1; i < argc;) {
        if (is_over || argv[i][0] != '-' || strcmp(argv[i], "-") == 0) {
            argv[++n_words] = argv[i++];
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            is_over = true;
            i++;
            continue;
        }
        const struct argument *option = find(options, n, argv[i]);
        if (!option) {
            arguments_mistake(argv[0], "There is no such option: %s.", argv[i]);
            return false;
        }
        int taken = take(option, argc - i, argv + i, argv[0]);
        if (taken == 0)
            return false;
        i += taken;
    }
    *ret_n_words = n_words;
    return true;
}

size_t arguments_find(const char *word, const char *const *names, size_t n) {
    size_t i = 0;
    while (i < n && strcmp(names[i], word) != 0)
        i++;
    return i;
}

bool arguments_load_config(enum config_service service, struct config *ret) {
    return config_load(service, (const char *const *)environ, ret, stderr) == 0;
}

bool arguments_seconds(const char *text, int64_t most, int64_t *ret) {
    static const char units[] = "smhd";
    static const int64_t factors[] = {1, 60, 3600, 86400};
    size_t n = strspn(text, "0123456789");
    uint64_t number = 0;
    const char *unit = text[n] && !text[n + 1] ? strchr(units, text[n]) : NULL;
    if (!unit || !text_parse_number(text, n, &number))
        return false;
    int64_t factor = factors[unit - units];
    if (number < 1 || number > (uint64_t)(most / factor))
        return false;
    *ret = (int64_t)number * factor;
    return true;
}
