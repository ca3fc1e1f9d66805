/* The command line; see arguments.h. */
#include "tools/handoff/arguments.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "proto/text.h"
#include "tools/handoff/nearest.h"

#define MAX_OPTIONS 32
#define SHOWN 60 /* bytes of what was given, in a mistake */

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

static bool refuse(const char *command, const char *option, const char *what) {
    arguments_mistake(command, "%s %s", option, what);
    return false;
}

/* "a, b and c" */
static void put_names(struct buf *out, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", names[i]);
}

/* ---- options ---- */

static bool refuse_unknown(const char *command, const char *word, size_t len,
                           const struct argument *options, size_t n) {
    _cleanup_(buf_done) struct buf more = BUF_NULL;
    const char *names[MAX_OPTIONS] = {0};
    for (size_t i = 0; i < n; i++)
        names[i] = options[i].name;
    const char *meant = nearest(word, len, names, n);
    if (meant)
        buf_printf(&more, "Is %s meant?", meant);
    else if (n) {
        buf_puts(&more, "It takes ");
        put_names(&more, names, n);
        buf_putc(&more, '.');
    } else {
        buf_puts(&more, "It takes none.");
    }
    arguments_mistake(command, "%s has no option %.*s. %s", command,
                      (int)(len < SHOWN ? len : SHOWN), word, more.data);
    return false;
}

static bool take_value(const struct argument *o, const char *value, const char *command) {
    uint64_t number;
    if (!*value)
        return refuse(command, o->name, "takes a value that is not empty.");
    if (o->text) {
        *o->text = value;
        return true;
    }
    if (text_parse_number(value, strlen(value), &number) && number <= INT64_MAX &&
        (int64_t)number >= o->least && (int64_t)number <= o->most) {
        *o->number = (int64_t)number;
        return true;
    }
    arguments_mistake(command, "%s takes a number from %" PRId64 " to %" PRId64 ", not \"%.*s\".",
                      o->name, o->least, o->most, SHOWN, value);
    return false;
}

/* The option at argv[*i], and its value; *i is then the last of them. given: a bit for each. */
static bool take_option(int argc, char **argv, int *i, const struct argument *options, size_t n,
                        uint32_t *given) {
    const char *word = argv[*i], *command = argv[0], *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word), k = 0;
    while (k < n && (strlen(options[k].name) != len || memcmp(options[k].name, word, len) != 0))
        k++;
    if (k == n)
        return refuse_unknown(command, word, len, options, n);
    const struct argument *o = &options[k];
    if (o->flag) {
        *o->flag = true;
        return !equals || refuse(command, o->name, "takes no value.");
    }
    if (*given & (1u << k))
        return refuse(command, o->name, "is given twice.");
    *given |= 1u << k;
    if (equals)
        return take_value(o, equals + 1, command);
    if (++*i == argc)
        return refuse(command, o->name, "takes a value.");
    if (strncmp(argv[*i], "--", 2) != 0)
        return take_value(o, argv[*i], command);
    arguments_mistake(command, "%s takes a value, and %.*s comes instead. %s=%.*s, if it is one.",
                      o->name, SHOWN, argv[*i], o->name, SHOWN, argv[*i]);
    return false;
}

bool arguments_read(int argc, char **argv, const struct argument *options, size_t n,
                    size_t *ret_n_words) {
    size_t n_words = 0;
    uint32_t given = 0;
    bool is_over = false; /* "--" was there: the rest are words */
    if (n > MAX_OPTIONS)
        abort();
    for (int i = 1; i < argc; i++) {
        if (is_over || argv[i][0] != '-' || !argv[i][1])
            argv[++n_words] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            is_over = true;
        else if (!take_option(argc, argv, &i, options, n, &given))
            return false;
    }
    *ret_n_words = n_words;
    return true;
}

/* ---- verbs ---- */

int arguments_run_verb(int argc, char **argv, const struct verb *verbs, size_t n) {
    static char name[2 * NEAREST_MAX];
    _cleanup_(buf_done) struct buf known = BUF_NULL;
    const char *names[MAX_OPTIONS] = {0}, *word = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < n && i < MAX_OPTIONS; i++) {
        names[i] = verbs[i].name;
        if (strcmp(word, names[i]) != 0)
            continue;
        snprintf(name, sizeof(name), "%s %s", argv[0], names[i]);
        argv[1] = name;
        return verbs[i].run(argc - 1, argv + 1);
    }
    put_names(&known, names, n);
    const char *meant = nearest(word, strlen(word), names, n);
    return arguments_mistake(argv[0], "%s knows %s%s%s%s", argv[0], known.data,
                             meant   ? ". Is "
                             : *word ? ": one of them comes first."
                                     : ".",
                             meant ? meant : "", meant ? " meant?" : "");
}

/* ---- the environment, and values ---- */

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
