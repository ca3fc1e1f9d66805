/* What a handler may ask of an HTTP request. */
#include <string.h>
#include <strings.h>

#include "common/http_server.h"

const char *http_method(const struct http_request *r) {
    return r->method;
}

const char *http_path(const struct http_request *r) {
    return r->path;
}

static const char *keep_text(struct http_request *r, char *text) {
    r->owned_texts = must_realloc(r->owned_texts, (r->n_owned_texts + 1) * sizeof(*r->owned_texts));
    r->owned_texts[r->n_owned_texts++] = text;
    return text;
}

const char *http_query(struct http_request *r, const char *name, bool *ret_twice) {
    size_t n = 0;
    char *value = http_query_find(r->query, name, &n);
    if (ret_twice)
        *ret_twice = n > 1;
    return value ? keep_text(r, value) : NULL;
}

size_t http_n_headers(const struct http_request *r, const char *name) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_headers; i++)
        n += strcasecmp(r->headers[i].name, name) == 0;
    return n;
}

const char *http_header(struct http_request *r, const char *name) {
    const char *first = NULL;
    struct buf joined = BUF_NULL;
    for (size_t i = 0; i < r->n_headers; i++) {
        const char *value = r->headers[i].value ? r->headers[i].value : "";
        if (strcasecmp(r->headers[i].name, name) != 0)
            continue;
        if (!first) {
            first = value;
            continue;
        }
        if (joined.len == 0)
            buf_puts(&joined, first);
        buf_puts(&joined, ", ");
        buf_puts(&joined, value);
    }
    return joined.cap ? keep_text(r, buf_take(&joined)) : first;
}

const char *http_body(const struct http_request *r, size_t *ret_len) {
    *ret_len = r->body.len;
    return r->body.data ? r->body.data : "";
}

void http_set_data(struct http_request *r, void *data, void (*free_data)(void *)) {
    r->data = data;
    r->free_data = free_data;
}
