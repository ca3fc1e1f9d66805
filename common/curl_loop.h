/* libcurl's multi interface as a guest of the loop: libcurl tells which descriptors and which
 * moment it waits for. Its users set up the transfers. Loop thread only. */
#pragma once

#include <curl/curl.h>
#include <uv.h>

#include "base/cleanup.h"

/* A transfer has ended; easy is still in the multi handle, and the user's to take out of it. May
 * begin others, or close. */
typedef void curl_loop_done_fn(void *arg, CURL *easy, CURLcode code);

/* Part of its user's struct, which lives until `closed`. */
struct curl_loop {
    CURLM *multi; /* NULL once it is closed */
    uv_loop_t *loop;
    uv_timer_t timer; /* libcurl's */
    curl_loop_done_fn *done;
    void *arg;
};

/* -ENOMEM when libcurl cannot start; then nothing is to be closed. */
MUSTCHECK int curl_loop_open(struct curl_loop *c, uv_loop_t *loop, curl_loop_done_fn *done,
                             void *arg);
/* After all transfers were taken out. closed: later, its handle's data is arg. */
void curl_loop_close(struct curl_loop *c, uv_close_cb closed);
