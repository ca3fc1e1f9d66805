/* What every list has in common: limit, cursor, and the link to the next page. */
#include <stdio.h>

#include "services/session_api/api.h"
#include "services/session_api/parameters.h"

int page_read(struct call *call, const char **ret_cursor, struct fault *f) {
    uint64_t limit = PARAMETERS_LIMIT_DEFAULT;
    int r = parameters_number(call->request, "limit", 1, PARAMETERS_LIMIT_MAX, &limit, f);
    call->limit = (size_t)limit;
    return r ? r : parameters_text(call->request, "cursor", ret_cursor, f);
}

int page_refuse_cursor(struct fault *f) {
    return (int)fault_set(f, FAULT_INVALID_REQUEST, "cursor", "cursor is none that this list gave");
}

void page_add_filter(struct call *call, const char *name, const char *value) {
    buf_printf(&call->filters, "&%s=%s", name, value);
}

/* Path, cursor and filters are made of characters that need no escape. */
static void print_link(const struct call *call, const char *cursor, struct buf *out) {
    buf_printf(out, "<%s?cursor=%s&limit=%zu", http_path(call->request), cursor, call->limit);
    buf_put(out, call->filters.data, call->filters.len);
    buf_puts(out, ">; rel=\"next\"");
}

void page_answer(struct call *call, struct buf *items, const char *next) {
    struct buf body = BUF_NULL, link = BUF_NULL;
    buf_puts(&body, "{\"items\":[");
    buf_put(&body, items->data, items->len);
    buf_done(items);
    if (next) {
        print_link(call, next, &link);
        call_add_header(call, "Link", link.data);
        buf_printf(&body, "],\"nextCursor\":\"%s\"}", next);
    } else {
        buf_puts(&body, "],\"nextCursor\":null}");
    }
    call_answer(call, 200, &body);
    buf_done(&link);
}
