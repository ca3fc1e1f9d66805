/* How far long work has come, on stderr: on a terminal a line that is written over, and elsewhere
 * lines, once they are asked for by --progress. What a command finds is on stdout alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

struct progress {
    bool is_asked; /* --progress */
    bool has_line; /* on a terminal, without its end */
    int64_t told_ms;
};

/* Some times a second on a terminal, and each second elsewhere; the others are not told. */
void progress_tell(struct progress *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Told in any case. */
void progress_step(struct progress *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Before anything else is written: takes the line away again. */
void progress_clear(struct progress *p);
