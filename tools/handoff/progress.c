/* See progress.h. */
#include "tools/handoff/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/timestamp.h"

#define TERMINAL_MS 200
#define LINES_MS 1000

__attribute__((format(printf, 2, 0))) static void tell(struct progress *p, const char *format,
                                                       va_list list) {
    bool is_terminal = isatty(STDERR_FILENO);
    if (!is_terminal && !p->is_asked)
        return;
    p->told_ms = timestamp_monotonic_ms();
    p->has_line = is_terminal;
    fputs(is_terminal ? "\r\033[Khandoff: " : "handoff: ", stderr);
    vfprintf(stderr, format, list);
    if (!is_terminal)
        fputc('\n', stderr);
    fflush(stderr);
}

void progress_tell(struct progress *p, const char *format, ...) {
    int64_t every_ms = isatty(STDERR_FILENO) ? TERMINAL_MS : LINES_MS;
    va_list list;
    if (p->told_ms && timestamp_monotonic_ms() - p->told_ms < every_ms)
        return;
    va_start(list, format);
    tell(p, format, list);
    va_end(list);
}

void progress_step(struct progress *p, const char *format, ...) {
    va_list list;
    va_start(list, format);
    tell(p, format, list);
    va_end(list);
}

void progress_clear(struct progress *p) {
    if (p->has_line)
        fputs("\r\033[K", stderr);
    p->has_line = false;
}
