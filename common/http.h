/* HTTP server: libmicrohttpd as a guest of the loop; the only border to it. Takes a whole request
 * (bounded in size and time), hands it to one handler, and is answered now or later. Refuses by
 * itself the framings that contract section 3 lists. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/cleanup.h"

struct http;
struct http_request; /* one request; alive until http_answer was called for it */

struct http_options {
    const char *listen;    /* host:port, [v6]:port */
    size_t max_body_bytes; /* more is 413, after up to 8 MiB were read and dropped */
    int64_t
        request_timeout_ms; /* from the first byte to the last of headers and body: then closed */
    unsigned max_connections;
    /* That wait to be taken, of all requests: who does not take them is shut. 0: 128 MiB. At twice
     * that much requests are refused. */
    size_t max_answer_bytes;
    bool opens_later; /* connections are refused until http_open */
};

/* Why the server asks for an error answer of the handler's making. */
enum http_problem {
    HTTP_FINE,
    HTTP_BAD_FRAMING,    /* answer 400 and the connection is closed */
    HTTP_BODY_TOO_LARGE, /* 413 */
    HTTP_BUSY, /* 503: the bodies in hand, of all requests, fill their bound (256 MiB), or the
                  answers do that nobody takes */
};

/* Called in the loop, once a request. Must lead to exactly one http_answer. problem != HTTP_FINE:
 * the body is empty, answer the error. */
typedef void http_handler_fn(void *arg, struct http_request *request, enum http_problem problem);

/* 0 or negative errno (-EADDRINUSE …). The handler's arg is borrowed. */
MUSTCHECK int http_new(struct http **ret, uv_loop_t *loop, const struct http_options *options,
                       http_handler_fn *handler, void *arg);
/* Takes connections from now on. 0 or negative errno; again: 0. */
MUSTCHECK int http_open(struct http *h);
/* The port listened on (of interest when `listen` says 0). */
uint16_t http_port(const struct http *h);
typedef void http_quiet_fn(void *arg);
/* Stops accepting, and closes each connection after its next answer. Whom it let in is still
 * answered: on_quiet is called once, now or in the loop, when no request is in hand or on its way.
 * One that does not come within a second is given up. Again: nothing. */
void http_quiesce(struct http *h, http_quiet_fn *on_quiet, void *arg);
size_t
http_n_in_hand(const struct http *h); /* requests handed over, their answer not yet sent whole */
/* Answers what is in hand with 503 and closes all. */
struct http *http_free(struct http *h);
DEFINE_CLEANUP(struct http *, http_free)

/* All borrowed until http_answer. The path is raw (not unescaped), without the query. */
const char *http_method(const struct http_request *r);
const char *http_path(const struct http_request *r);
/* The value of a query parameter, unescaped; NULL when absent; "" when without a value. Sets
 * *ret_twice (may be NULL) when it is there more than once. */
const char *http_query(struct http_request *r, const char *name, bool *ret_twice);
/* A header's value by case-insensitive name, NULL when absent; several lines are joined by ", ". */
const char *http_header(struct http_request *r, const char *name);
/* How many lines have that name (to refuse what may be there once only). */
size_t http_n_headers(const struct http_request *r, const char *name);
const char *http_body(const struct http_request *r, size_t *ret_len);
/* The client's address as text, for the log and limits. */
const char *http_peer(struct http_request *r);

/* One pointer of the handler's, kept with the request. free_data (may be NULL) is called when the
 * request is gone. */
void http_set_data(struct http_request *r, void *data, void (*free_data)(void *));

struct http_answer {
    int status;
    const char *const *headers; /* name, value, name, value, …, NULL; copied. Content-Type too */
    char *body;                 /* taken: freed by the server; NULL: empty */
    const char *lasting;        /* a body instead of that which outlives the server: not copied */
    size_t body_len;            /* of either */
    bool close;                 /* close the connection afterwards */
};
/* Answers and ends the request (r is gone after it). For HEAD the body is measured, not sent. */
void http_answer(struct http_request *r, const struct http_answer *answer);
