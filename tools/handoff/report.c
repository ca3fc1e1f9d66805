/* See report.h. What servers say may hold anything: it is shown on one line, without control
 * characters. */
#include "tools/handoff/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

static const char *const names[REPORT_N_STATES] = {"ok", "warning", "failed"};

/* Fields are found: cut at 400 bytes, not within a character. */
#define FOUND_CAP 400

static void tidy(char *text) {
    size_t len = strlen(text);
    while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
        text[--len] = '\0';
    if (len == FOUND_CAP - 1)
        while (len && (text[len - 1] & 0x80)) /* perhaps torn */
            text[--len] = '\0';
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
}

static void print_json(enum report_state state, const char *check, const char *service,
                       const char *todo, const char *found) {
    _cleanup_(buf_done) struct buf line = BUF_NULL;
    buf_printf(&line, "{\"state\":\"%s\",\"check\":", names[state]);
    buf_puts_json(&line, check);
    buf_puts(&line, ",\"service\":");
    if (*service)
        buf_puts_json(&line, service);
    else
        buf_puts(&line, "null");
    buf_puts(&line, ",\"found\":");
    buf_puts_json(&line, found);
    buf_puts(&line, ",\"todo\":");
    if (*todo)
        buf_puts_json(&line, todo);
    else
        buf_puts(&line, "null");
    printf("%s}\n", line.data);
}

void report_add(struct report *r, enum report_state state, const char *check, const char *service,
                const char *todo, const char *format, ...) {
    char found[FOUND_CAP];
    va_list list;
    va_start(list, format);
    vsnprintf(found, sizeof(found), format, list);
    va_end(list);
    tidy(found);
    r->n[state]++;
    if (r->json) {
        print_json(state, check, service, todo, found);
    } else {
        printf("%-7s  %-26s %-12s  %s\n", names[state], check, service, found);
        if (*todo)
            printf("         -> %s\n", todo);
    }
    fflush(stdout); /* a check may take seconds */
}

int report_end(const struct report *r) {
    if (!r->json)
        printf("%zu ok, %zu warning%s, %zu failed\n", r->n[REPORT_OK], r->n[REPORT_WARNING],
               r->n[REPORT_WARNING] == 1 ? "" : "s", r->n[REPORT_FAILED]);
    return r->n[REPORT_FAILED] ? 1 : 0;
}
