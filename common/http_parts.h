/* Parts of the HTTP server that need no libmicrohttpd; private to common/http*.c and their tests,
 * but for how one listens, which ws_fanout does, too. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* ---- http_socket.c ---- */
/* A non-blocking socket that has host:port or [v6]:port (host empty or *: every address) and
 * refuses connections until http_listen. A descriptor, or negative errno: -EINVAL for what is no
 * address. */
MUSTCHECK int http_bind(const char *address, uint16_t *ret_port);
/* 0 or negative errno: -EADDRINUSE when another took the address between the two. */
MUSTCHECK int http_listen(int fd);

/* Since bytes came last, as the kernel has it; INT64_MAX when it cannot say. */
int64_t http_silent_ms(int fd);
/* Splits "[::1]:80", "host:80", ":80" in place: NULL for any host. False when it is none of these.
 */
bool http_split_address(char *address, const char **ret_host, const char **ret_port);
#define HTTP_ADDRESS_CAP 64
struct sockaddr;
/* The address without the port. */
void http_print_address(const struct sockaddr *address, char ret[static HTTP_ADDRESS_CAP]);

/* ---- http_framing.c ---- */
/* Whether a request's end is certain to every party between the client and us. Walk all its
 * headers, then ask. */
struct http_framing {
    unsigned n_hosts;
    bool has_length;
    uint64_t length;
    unsigned n_codings;
    size_t n_bytes; /* of the lines, each with its line break */
    bool is_bad;
};
void http_framing_take(struct http_framing *f, const char *name, size_t name_len, const char *value,
                       size_t value_len);
/* version: "HTTP/1.1". */
bool http_framing_is_bad(const struct http_framing *f, const char *version);
/* Whether the head is the request line, these lines and an empty one, byte for byte: n_line of the
 * first line without its break, n_head of all. Else something in it was not told: see
 * http_framing.c. */
bool http_framing_is_whole(const struct http_framing *f, size_t n_line, size_t n_head);

/* ---- http_query.c ---- */
/* The value of `name` in a raw query ("a=b&c"), unescaped: caller frees; NULL when absent. *ret_n:
 * how many there are. What cannot be unescaped (a bad %xx, %00) is kept as it is. */
char *http_query_find(const char *query, const char *name, size_t *ret_n);
