/* The HTTP server's inside; private to common/http*.c. */
#pragma once

#include "common/http.h"
#include "common/http_parts.h"

struct MHD_Connection;
struct MHD_Daemon;
struct MHD_Response;

enum phase {
    PHASE_IDLE,    /* between requests -> reading, at its first line */
    PHASE_READING, /* -> in hand, when the last byte is there */
    PHASE_IN_HAND, /* -> sending, by http_answer */
    PHASE_SENDING, /* -> idle, or gone */
};

struct http_connection {
    struct http_connection *next, *previous;
    int fd; /* libmicrohttpd's */
    enum phase phase;
    bool lingers;        /* the client still sends: see http_linger.c */
    int64_t phase_since; /* monotonic ms */
    int64_t begun_since; /* idle: when bytes of a next request were seen; 0: none yet */
    size_t answer_bytes; /* sending: of the body */
};

struct header {
    const char *name, *value; /* borrowed from libmicrohttpd; value may be NULL */
    size_t name_len;
};

#define HTTP_MAX_USUAL_HEADERS 16

struct http_request {
    struct http *http;
    struct http_request *next, *previous; /* of http->in_hand, while in that list */
    struct http_connection *connection;
    struct MHD_Connection *mhd;
    char *path;  /* owned */
    char *query; /* borrowed from path's allocation */
    size_t target_len;
    const char *method;
    struct header *headers; /* usual_headers, or owned when there are more */
    size_t n_headers;
    struct header usual_headers[HTTP_MAX_USUAL_HEADERS];
    struct buf body;
    size_t n_dropped;
    enum http_problem problem;
    bool headers_seen, is_kept, handed_over, suspended, in_list;
    struct MHD_Response *response; /* the answer, until it is queued */
    int status;
    size_t answer_len;
    char **owned_texts; /* answers of http_query and http_header */
    size_t n_owned_texts;
    char peer[HTTP_ADDRESS_CAP];
    void *data;
    void (*free_data)(void *);
};

struct http {
    struct MHD_Daemon *daemon;
    http_handler_fn *handler;
    void *arg;
    http_keeps_fn *keeps_body; /* or NULL */
    size_t max_body_bytes;
    int64_t request_timeout_ms, idle_timeout_ms;
    uint16_t port;
    bool open, quiesced;
    http_quiet_fn *on_quiet; /* NULL once it was called */
    void *quiet_arg;
    struct http_connection *connections;
    struct http_linger *lingers;
    unsigned n_lingers;
    uv_loop_t *loop;
    struct http_request *in_hand;
    size_t n_in_hand;
    size_t body_bytes;
    size_t answer_bytes;                                     /* that wait to be taken */
    size_t max_buffer_bytes;                                 /* of each of both */
    struct metric *connections_metric, *answer_bytes_metric; /* NULL: they are not told */
    int64_t shed_at;                                         /* monotonic ms */
    bool was_pressed; /* by them, and the memory is not given back yet */
    uv_poll_t poll;
    uv_timer_t timer; /* what libmicrohttpd asked for */
    uv_timer_t sweep; /* our deadlines */
    uv_idle_t again;
    unsigned n_open_handles;
};

/* ---- http_request.c ---- */
/* Of a target as it is in the first line; nothing else is set. */
struct http_request *http_request_new(const char *target);
void http_request_free(struct http_request *r);
/* name, value: borrowed from libmicrohttpd for as long as the request lives. */
void http_request_add_header(struct http_request *r, const char *name, size_t name_len,
                             const char *value);
/* To and from the list of those that were handed over. */
void http_in_hand_add(struct http_request *r);
void http_in_hand_remove(struct http_request *r);

/* ---- http_deadlines.c ---- */
/* Adds a connection that was accepted; its first request is awaited. */
struct http_connection *http_connection_new(struct http *h, int fd);
struct http_connection *http_connection_free(struct http *h, struct http_connection *c);
/* So many bytes of its answer wait to be taken now. */
void http_connection_owe(struct http *h, struct http_connection *c, size_t n_bytes);
void http_connection_enter(struct http_connection *c, enum phase phase);
/* A request is on its way, or its first bytes may be. */
bool http_is_reading(const struct http *h);
/* Shuts the sockets that are late; libmicrohttpd sees them end, and closes. */
void http_shut_late(struct http *h);
/* Shuts at once who does not take an answer, when more of them wait than should. */
void http_shed(struct http *h);

/* ---- http_body.c ---- */
#define HTTP_DROP_MAX_BYTES (8u << 20) /* of a body that is not kept */
/* Keeps a piece of the body, or drops it, with r->problem set; false when nothing more will be
 * read. */
bool http_take_body(struct http_request *r, const char *piece, size_t len);
void http_drop_body(struct http_request *r);

/* ---- http_linger.c ---- */
/* libmicrohttpd is about to close fd; the client may still send. */
void http_linger_begin(struct http *h, int fd);
/* Ends those that take too long, or all. */
void http_linger_sweep(struct http *h, bool all);
