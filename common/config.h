/* Configuration: one struct, filled from the environment by one table (config.c), which also makes
 * --help, --check-config and docs/CONFIG.md. Contract section 8. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"

enum config_service { /* bits: who uses a row */
                      CONFIG_SESSION_API = 1,
                      CONFIG_STATE_ENGINE = 2,
                      CONFIG_WS_FANOUT = 4,
                      CONFIG_AUDIT_WRITER = 8,
                      CONFIG_ALL = 15, /* services */
                      CONFIG_CLI = 16, /* the command `handoff` */
};

/* Strings are owned by the struct; never NULL ("" when not set). Durations are milliseconds. */
struct config {
    enum config_service service;
    const char *service_name; /* "session_api" */

    char *instance;            /* HANDOFF_INSTANCE: default <host>-<pid>-<random> */
    char *log_level;           /* debug info warn error */
    char *log_format;          /* auto json text */
    char *admin_listen;        /* host:port; default 127.0.0.1:9100..9103 by service */
    char *amqp_url;            /* amqp://user:password@host:port,host:port/vhost */
    char *queue_type;          /* classic quorum */
    char *redis_url;           /* redis://[user:password@]host:port[/db], or redis+cluster:// */
    char *redis_wait_replicas; /* auto 0 1 2 3 */
    char *database_url;        /* postgres://… */

    char *jwt_algorithms; /* HS256,RS256,ES256: comma-separated allow-list; default HS256 */
    char *jwt_secret;
    char *jwt_secret_previous;
    char *jwt_keys; /* folder of <kid>.pem public keys */
    char *jwt_issuer;
    char *jwt_audience;
    char *jwks_url;
    char *jwks_ca_file;
    int64_t jwks_refresh_s;
    char *jwt_session_claim;
    char *session_token_key;         /* PEM file: a private key on P-256 */
    char *session_token_public_keys; /* PEM file: one or two public keys */

    char *listen;          /* HANDOFF_API_LISTEN / HANDOFF_WS_LISTEN */
    char *allowed_origins; /* comma-separated, or *: common/origins.h */

    int64_t command_deadline_ms;
    int64_t max_commands_in_flight;
    int64_t request_timeout_ms; /* for a request's headers and body */
    int64_t idle_timeout_ms;    /* between two requests of a connection */
    int64_t max_connections;
    int64_t max_body_bytes;
    int64_t max_buffer_bytes; /* of all bodies, and of all answers that wait to be taken */
    int64_t max_sessions_per_user;
    int64_t api_user_requests_per_second; /* 0: no limit */
    int64_t api_user_requests_burst;      /* 0: twice those a second */
    int64_t api_address_requests_per_second;
    int64_t api_address_requests_burst;
    char *trusted_proxies; /* addresses and networks, comma-separated */
    int64_t console;       /* 0 or 1 */
    int64_t docs;          /* 0 or 1 */
    char *public_ws_url;   /* ws:// or wss://; "": at the host that is asked for */
    char *code_url;        /* what a handoff code becomes: with {code} in it */

    int64_t cloudevents; /* 0 or 1: events have CloudEvents' attributes */

    int64_t snapshot_every;
    int64_t cold_after_ms; /* unused for so long a session leaves Redis */
    int64_t max_batch; /* commands the engine takes at a time; rows audit_writer writes at a time */
    int64_t max_kept_bytes; /* of sessions in the engine's memory; 0: none */
    int64_t audit_wait_ms;
    int64_t purge_after_ms; /* 0: never */

    char *fanout_binding; /* all session */
    int64_t auth_timeout_ms;
    int64_t ping_after_ms;
    int64_t pong_timeout_ms;
    int64_t max_outbox_bytes;
    int64_t max_outbox_total_bytes;
    int64_t stuck_timeout_ms;
    int64_t max_subscriptions;
    int64_t max_message_bytes;
    int64_t ws_messages_per_second; /* of a connection; 0: no limit */
    int64_t ws_bytes_per_second;
    int64_t ws_connections_per_user; /* on one instance */

    int64_t drain_timeout_ms;
    int64_t drain_delay_ms;
    int64_t admin_drain; /* 0 or 1: POST /drain, /rebalance at the admin port */

    char *otlp_url; /* "": steps of traces are sent nowhere */
    char *otlp_authorization;
    int64_t trace_sample; /* of CONFIG_RATIO_ONE new traces */
    int64_t trace_callers_per_second;
};

#define CONFIG_RATIO_ONE 1000000 /* what a ratio of 1 is as a number */

/* Reads environ and, for …_FILE, files. On a bad value or an unknown HANDOFF_ name writes what is
 * wrong and what is allowed to err and returns -EINVAL. */
MUSTCHECK int config_load(enum config_service service, const char *const *environment,
                          struct config *ret, FILE *err);
void config_done(struct config *c);
/* The shared queues' type: quorum, or else classic. */
bool config_wants_quorum(const struct config *c);
void config_print_help(enum config_service service, FILE *out);
/* Of it what is said of each name. */
void config_print_rows(enum config_service service, FILE *out);
/* Effective values with their source (default, environment, file), secrets redacted. */
void config_print_values(const struct config *c, const char *const *environment, FILE *out);
/* The same as members of a JSON array: {"name":…,"value":…,"source":…}. */
void config_print_json(const struct config *c, const char *const *environment, FILE *out);
/* The rows as Markdown: docs/CONFIG.md is made from it. */
void config_print_markdown(FILE *out);
