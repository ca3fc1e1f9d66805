/* One HTTP exchange at a time with a server of the operator's choice (an identity provider, a
 * collector of traces): by libcurl in the loop (curl_loop.h). What is sent back is bounded in bytes
 * and in time, no redirect is followed, nothing is unpacked, and no connection stays. Loop thread
 * only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/cleanup.h"

struct fetch;

struct fetch_answer {
    const char *error; /* why there is none; NULL: there is one. All borrowed until done returns */
    int status;
    const char *body; /* never NULL */
    size_t body_len;
    int64_t retry_after_s; /* as the server asks; 0: it does not */
};

struct fetch_options {
    uv_loop_t *loop;
    const char *url;           /* http, https; borrowed for as long as the fetch */
    const char *ca_file;       /* "": the system's; borrowed */
    const char *authorization; /* the header's value; "" without; borrowed */
    bool is_direct;            /* by no proxy, whatever the environment says */
    size_t max_answer_bytes;
    /* Once for each exchange, later than what began it. May begin the next one, or free. */
    void (*done)(void *arg, const struct fetch_answer *answer);
    void *arg;
};

/* -ENOMEM when libcurl cannot start. */
MUSTCHECK int fetch_new(struct fetch **ret, const struct fetch_options *options);
/* What is under way is called off, without done; handles close in the loop. NULL is fine. */
struct fetch *fetch_free(struct fetch *f);

bool fetch_is_busy(const struct fetch *f);
/* GET, or with json (borrowed until done) POST. While none is under way. -ENOMEM: nothing began. */
MUSTCHECK int fetch_begin(struct fetch *f, const char *json, size_t json_len);

/* The URL with `path` where it has none. -EINVAL, and *ret untouched: it is no http or https URL.
 */
MUSTCHECK int fetch_url_with_path(const char *url, const char *path, char **ret);
