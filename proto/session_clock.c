/* A session's clock as the session carries it: one text, spliced into what is printed, and its
 * shape; see session.h. What a clock says is in clock.c. */
#include <errno.h>
#include <string.h>

#include "proto/clock.h"
#include "proto/session.h"

/* The clock, its participants, one of them. */
#define MAX_LEVELS 3

/* Names, numbers, moments, ids and what frames them: a clock's text has no spaces, no escapes, and
 * in its strings no brackets. */
static bool is_clock_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("{}[]\":,._-", c));
}

size_t session_clock_span(const char *text, size_t len) {
    char closing[MAX_LEVELS];
    size_t n_levels = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!is_clock_byte(c) || (i == 0 && c != '{'))
            return 0;
        if (c == '{' || c == '[') {
            if (n_levels == MAX_LEVELS)
                return 0;
            closing[n_levels++] = c == '{' ? '}' : ']';
        } else if (c == '}' || c == ']') {
            if (closing[--n_levels] != c)
                return 0;
            if (n_levels == 0)
                return i + 1;
        }
    }
    return 0;
}

void session_set_clock(struct session *s, const struct clock *c) {
    struct buf text = BUF_NULL;
    if (c)
        clock_print(c, &text);
    free(s->clock_text);
    s->clock_len = text.len;
    s->clock_text = c ? buf_take(&text) : NULL;
    s->clock_runs = c && c->started_at != 0;
}

int session_take_clock(struct session *s, const char *text, size_t len, bool runs) {
    if (len == 0 || session_clock_span(text, len) != len)
        return -EBADMSG;
    free(s->clock_text);
    s->clock_text = must_memdup(text, len);
    s->clock_len = len;
    s->clock_runs = runs;
    return 0;
}

bool session_clock_runs(const struct session *s) {
    return s->clock_runs;
}
