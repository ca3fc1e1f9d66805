/* The environment, a line a name=value; the first byte chooses the service. A value that is taken
 * is within the row's bounds, and prints as one that is taken as the same; what must not be seen is
 * not printed, neither as a value nor in what is said of a mistake. */
#include <stdio.h>

#include "common/config_file.h"
#include "common/config_table.h"
#include "fuzz_json.h"

#define MAX_NAMES 64

static char *whole(FILE *file) {
    long size = ftell(file);
    char *text = must_alloc((size_t)size + 1);
    rewind(file);
    must_hold(fread(text, 1, (size_t)size, file) == (size_t)size);
    return text;
}

static const char *text_at(const struct config *c, const struct config_row *row) {
    char *text;
    memcpy(&text, (const char *)c + row->offset, sizeof(text));
    return text;
}

static void check_number(const struct config *c, const struct config_row *row) {
    int64_t number, again = 0;
    struct buf text = BUF_NULL;
    memcpy(&number, (const char *)c + row->offset, sizeof(number));
    must_hold(row->type == CONFIG_BOOLEAN ? number == 0 || number == 1
                                          : number >= row->least && number <= row->most);
    config_value_print_number(row->type, number, &text);
    must_hold(config_value_parse(row, text.data, &again) && again == number);
    buf_done(&text);
}

static void check_text(const struct config *c, const struct config_row *row) {
    const char *text = text_at(c, row);
    const char *fallback = config_row_fallback(row, c->service);
    struct buf shown = BUF_NULL;
    int64_t ignored;
    must_hold(text != NULL);
    must_hold((fallback && strcmp(text, fallback) == 0) || config_value_parse(row, text, &ignored));
    config_value_print_text(row->type, text, &shown);
    must_hold(row->type != CONFIG_SECRET || !*text || strcmp(shown.data, "***") == 0);
    buf_done(&shown);
}

static void check_values(const struct config *c) {
    for (const struct config_row *row = config_rows(); row->name; row++) {
        if (!(row->services & (unsigned)c->service))
            continue;
        if (config_type_is_number(row->type))
            check_number(c, row);
        else
            check_text(c, row);
    }
}

/* Long enough that it is nothing else by chance. */
static void must_not_show(const char *const *environment, const char *shown) {
    static const char *const names[] = {"HANDOFF_JWT_SECRET=", "HANDOFF_JWT_SECRET_PREVIOUS="};
    for (; *environment; environment++)
        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
            size_t len = strlen(names[i]);
            if (strncmp(*environment, names[i], len) == 0 && strlen(*environment + len) >= 32)
                must_hold(!strstr(shown, *environment + len));
        }
}

static void check(enum config_service service, const char *const *environment) {
    struct config c;
    FILE *err = tmpfile();
    int r = config_load(service, environment, &c, err);
    must_hold((r != 0) == (ftell(err) > 0));
    if (r == 0) {
        check_values(&c);
        (void)config_wants_quorum(&c);
        config_print_values(&c, environment, err);
        config_done(&c);
    }
    char *said = whole(err);
    must_not_show(environment, said);
    free(said);
    fclose(err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum config_service services[] = {
        CONFIG_SESSION_API, CONFIG_STATE_ENGINE, CONFIG_WS_FANOUT, CONFIG_AUDIT_WRITER, CONFIG_CLI};
    const char *environment[MAX_NAMES + 1] = {NULL};
    if (size == 0)
        return 0;
    char *text = fuzz_text(data + 1, size - 1), *at = text;
    for (size_t n = 0; n < MAX_NAMES && at; n++)
        environment[n] = strsep(&at, "\n");
    check(services[data[0] % N_ELEMENTS(services)], environment);
    free(text);
    return 0;
}
