/* A request's texts, and what a handler may ask of it. */
#include <string.h>
#include <strings.h>

#include "common/http_server.h"

struct http_request *http_request_new(const char *target) {
    struct http_request *r = must_alloc(sizeof(*r));
    r->headers = r->usual_headers;
    r->path = must_strdup(target);
    r->target_len = strlen(target);
    char *question = strchr(r->path, '?');
    if (question)
        *question = '\0';
    r->query = question ? question + 1 : r->path + strlen(r->path);
    return r;
}

void http_request_free(struct http_request *r) {
    for (size_t i = 0; i < r->n_owned_texts; i++)
        free(r->owned_texts[i]);
    free(r->owned_texts);
    if (r->headers != r->usual_headers)
        free(r->headers);
    free(r->path);
    free(r);
}

static void grow_headers(struct http_request *r) {
    size_t cap = r->n_headers + HTTP_MAX_USUAL_HEADERS;
    bool was_usual = r->headers == r->usual_headers;
    r->headers = must_realloc(was_usual ? NULL : r->headers, cap * sizeof(*r->headers));
    if (was_usual)
        memcpy(r->headers, r->usual_headers, sizeof(r->usual_headers));
}

void http_request_add_header(struct http_request *r, const char *name, size_t name_len,
                             const char *value) {
    if (r->n_headers && r->n_headers % HTTP_MAX_USUAL_HEADERS == 0)
        grow_headers(r);
    r->headers[r->n_headers++] = (struct header){name, value, name_len};
}

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

/* Most headers differ in their length already. */
static bool is_named(const struct header *h, const char *name, size_t name_len) {
    return h->name_len == name_len && strcasecmp(h->name, name) == 0;
}

size_t http_n_headers(const struct http_request *r, const char *name) {
    size_t n = 0, name_len = strlen(name);
    for (size_t i = 0; i < r->n_headers; i++)
        n += is_named(&r->headers[i], name, name_len);
    return n;
}

const char *http_header(struct http_request *r, const char *name) {
    const char *first = NULL;
    const size_t name_len = strlen(name);
    struct buf joined = BUF_NULL;
    for (size_t i = 0; i < r->n_headers; i++) {
        const char *value = r->headers[i].value ? r->headers[i].value : "";
        if (!is_named(&r->headers[i], name, name_len))
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

/* ---- those in hand ---- */

void http_in_hand_add(struct http_request *r) {
    struct http *h = r->http;
    r->next = h->in_hand;
    r->previous = NULL;
    if (r->next)
        r->next->previous = r;
    h->in_hand = r;
    h->n_in_hand++;
    r->in_list = true;
}

void http_in_hand_remove(struct http_request *r) {
    struct http *h = r->http;
    if (r->next)
        r->next->previous = r->previous;
    if (r->previous)
        r->previous->next = r->next;
    else
        h->in_hand = r->next;
    h->n_in_hand--;
    r->in_list = false;
}
