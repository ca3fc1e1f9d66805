/* HTTP as a command asks for it, in a loop; libcurl's border among the commands. No redirect is
 * followed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/cleanup.h"

struct web;

struct web_options {
    const char *url;     /* http://host:port or https://…, without a slash at its end; borrowed */
    const char *token;   /* of each request; borrowed; NULL: none */
    const char *ca_file; /* PEM; borrowed; NULL: the system's */
    long max_connections; /* requests beyond them wait */
    long timeout_ms;      /* of a request */
};

struct web_answer {
    int status;       /* 0: there was none, and why tells it */
    bool is_nobody;   /* there: no connection could be made */
    const char *why;  /* "" */
    const char *body; /* borrowed, with a NUL; at most 1 MiB of it */
    size_t body_len;
};
typedef void web_done_fn(void *arg, const struct web_answer *answer);

struct web_request {
    const char *method; /* "PATCH" */
    const char *path;   /* "/sessions" */
    const char *type;   /* of the body; NULL: none */
    const char *body;   /* copied */
    const char *device; /* X-Device-Id; NULL: none */
};

/* -EINVAL for a url that is none, -ENOMEM. */
MUSTCHECK int web_new(struct web **ret, uv_loop_t *loop, const struct web_options *options);
/* What waits is answered by nobody any more. The loop runs on until the handles are closed. */
struct web *web_free(struct web *w);
/* done is called later, once. */
void web_ask(struct web *w, const struct web_request *r, web_done_fn *done, void *arg);
size_t web_n_waiting(const struct web *w);
