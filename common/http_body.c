/* What is kept of a request's body, and what is dropped as it comes. */
#include "common/http_server.h"

#define UNASKED_MAX_BYTES (16u << 10) /* of a body before it is asked whether it is worth it */

void http_drop_body(struct http_request *r) {
    r->http->body_bytes -= r->body.cap;
    buf_done(&r->body);
}

/* Why a body that is so long is not kept. Who sends much has to be somebody: else strangers could
 * fill what all bodies may have together. */
static enum http_problem judge_body(struct http_request *r, size_t len) {
    struct http *h = r->http;
    if (len > h->max_body_bytes)
        return HTTP_BODY_TOO_LARGE;
    if (!r->is_kept && len > UNASKED_MAX_BYTES) {
        if (h->keeps_body && !h->keeps_body(h->arg, r))
            return HTTP_BODY_DROPPED;
        r->is_kept = true;
    }
    return h->body_bytes > h->max_buffer_bytes ? HTTP_BUSY : HTTP_FINE;
}

bool http_take_body(struct http_request *r, const char *piece, size_t len) {
    struct http *h = r->http;
    if (r->problem == HTTP_FINE)
        r->problem = judge_body(r, r->body.len + len);
    if (r->problem != HTTP_FINE) {
        r->n_dropped += r->body.len + len;
        http_drop_body(r);
        return r->n_dropped <= HTTP_DROP_MAX_BYTES;
    }
    size_t cap = r->body.cap;
    buf_put(&r->body, piece, len);
    h->body_bytes += r->body.cap - cap;
    return true;
}
