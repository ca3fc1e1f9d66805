/* Every configuration key, once. --help, --check-config and docs/CONFIG.md are made from these
 * rows. */
#include "common/config_table.h"

#include <strings.h>

#define API CONFIG_SESSION_API
#define ENGINE CONFIG_STATE_ENGINE
#define FANOUT CONFIG_WS_FANOUT
#define AUDIT CONFIG_AUDIT_WRITER

#define FIELD(field) offsetof(struct config, field)
#define MS(n) ((int64_t)(n))
#define S(n) ((int64_t)(n)*1000)
#define KIB(n) ((int64_t)(n) << 10)
#define MIB(n) ((int64_t)(n) << 20)

/* clang-format off */
static const struct config_row rows[] = {
    {.name = "HANDOFF_INSTANCE", .type = CONFIG_NAME, .offset = FIELD(instance),
     .services = CONFIG_ALL, .fallback = NULL,
     .help = "Name of this process in logs, queues and Redis; no two may share one."},
    {.name = "HANDOFF_LOG_LEVEL", .type = CONFIG_CHOICE, .offset = FIELD(log_level),
     .services = CONFIG_ALL, .fallback = "info", .choices = "debug info warn error",
     .help = "Least level that is logged.",
     .reload = CONFIG_RELOADS, .may_be_file = true},
    {.name = "HANDOFF_LOG_FORMAT", .type = CONFIG_CHOICE, .offset = FIELD(log_format),
     .services = CONFIG_ALL, .fallback = "auto", .choices = "auto json text",
     .help = "Log records as JSON lines or readable text; auto: text on a terminal."},
    {.name = "HANDOFF_ADMIN_LISTEN", .type = CONFIG_ADDRESS, .offset = FIELD(admin_listen),
     .services = CONFIG_ALL, .fallback = "127.0.0.1:9100",
     .by_service = {"127.0.0.1:9100", "127.0.0.1:9101", "127.0.0.1:9102", "127.0.0.1:9103"},
     .help = "Where /health, /ready and /metrics are served."},
    {.name = "HANDOFF_DRAIN_TIMEOUT", .type = CONFIG_DURATION, .offset = FIELD(drain_timeout_ms),
     .services = CONFIG_ALL, .fallback = "10s", .least = MS(100), .most = S(3600),
     .help = "Most time that work in hand gets after SIGTERM."},

    {.name = "HANDOFF_AMQP_URL", .type = CONFIG_URL, .offset = FIELD(amqp_url),
     .services = CONFIG_ALL | CONFIG_CLI, .fallback = "amqp://guest:guest@127.0.0.1:5672/%2f", .choices = "amqp",
     .help = "RabbitMQ: amqp://user:password@host:port/vhost; of a cluster several host:port, separated by commas, up to 16.",
     .reload = CONFIG_RELOADS_LOGIN},
    {.name = "HANDOFF_QUEUE_TYPE", .type = CONFIG_CHOICE, .offset = FIELD(queue_type),
     .services = CONFIG_ALL | CONFIG_CLI, .fallback = "classic", .choices = "classic quorum",
     .help = "Type of the shared queues, the same for every service: quorum on a cluster of RabbitMQ, classic else."},
    {.name = "HANDOFF_REDIS_URL", .type = CONFIG_URL, .offset = FIELD(redis_url),
     .services = CONFIG_ALL, .fallback = "redis://127.0.0.1:6379/0", .choices = "redis redis+cluster",
     .help = "Redis: redis://[user:password@]host:port[/db]; a Redis Cluster: redis+cluster://[user:password@]host:port[,host:port…], some of its nodes.",
     .reload = CONFIG_RELOADS_LOGIN},
    {.name = "HANDOFF_REDIS_WAIT_REPLICAS", .type = CONFIG_CHOICE,
     .offset = FIELD(redis_wait_replicas), .services = ENGINE, .fallback = "auto",
     .choices = "auto 0 1 2 3",
     .help = "Replicas that must have a change within 1 s before it is answered, else: timeout; auto: 1 on a cluster, else 0."},
    {.name = "HANDOFF_DATABASE_URL", .type = CONFIG_URL, .offset = FIELD(database_url),
     .services = API | ENGINE | AUDIT, .fallback = "postgres://handoff@127.0.0.1:5432/handoff",
     .choices = "postgres postgresql", .help = "PostgreSQL: postgres://user:password@host:port/database; of several host:port, separated by commas, the one that takes writes with ?target_session_attrs=read-write.",
     .reload = CONFIG_RELOADS_LOGIN},

    {.name = "HANDOFF_JWT_ALGORITHMS", .type = CONFIG_LIST, .offset = FIELD(jwt_algorithms),
     .services = API | FANOUT, .fallback = "HS256", .choices = "HS256 RS256 ES256",
     .help = "Signature algorithms that a token may have; each needs a key."},
    {.name = "HANDOFF_JWT_SECRET", .type = CONFIG_SECRET, .offset = FIELD(jwt_secret),
     .services = API | FANOUT, .fallback = "", .least = 32,
     .help = "Shared secret for HS256.",
     .reload = CONFIG_RELOADS},
    {.name = "HANDOFF_JWT_SECRET_PREVIOUS", .type = CONFIG_SECRET,
     .offset = FIELD(jwt_secret_previous), .services = API | FANOUT, .fallback = "", .least = 32,
     .help = "The secret before, still taken while rotating.",
     .reload = CONFIG_RELOADS},
    {.name = "HANDOFF_JWT_KEYS", .type = CONFIG_PATH, .offset = FIELD(jwt_keys),
     .services = API | FANOUT, .fallback = "",
     .help = "Folder of public keys <kid>.pem: RSA of 2048 bits or more (RS256), P-256 (ES256).",
     .reload = CONFIG_RELOADS_CONTENTS},
    {.name = "HANDOFF_JWT_ISSUER", .type = CONFIG_TEXT, .offset = FIELD(jwt_issuer),
     .services = API | FANOUT, .fallback = "", .help = "What iss must be; empty: not looked at."},
    {.name = "HANDOFF_JWT_AUDIENCE", .type = CONFIG_TEXT, .offset = FIELD(jwt_audience),
     .services = API | FANOUT, .fallback = "",
     .help = "What aud must be or contain; empty: not looked at."},
    {.name = "HANDOFF_JWKS_URL", .type = CONFIG_URL, .offset = FIELD(jwks_url),
     .services = API | FANOUT, .fallback = "", .choices = "https http",
     .help = "Public keys of an identity provider, a JWK set, for RS256 and ES256 beside HANDOFF_JWT_KEYS; http to loopback only; empty: none.",
     .reload = CONFIG_RELOADS_CONTENTS},
    {.name = "HANDOFF_JWKS_CA_FILE", .type = CONFIG_PATH, .offset = FIELD(jwks_ca_file),
     .services = API | FANOUT, .fallback = "",
     .help = "Certificates (PEM) of those who may vouch for HANDOFF_JWKS_URL's server; empty: the system's."},
    {.name = "HANDOFF_JWKS_REFRESH_S", .type = CONFIG_INTEGER, .offset = FIELD(jwks_refresh_s),
     .services = API | FANOUT, .fallback = "3600", .least = 60, .most = 86400,
     .help = "Seconds from a fetch of those keys to the next; a key that is not there is asked for sooner."},
    {.name = "HANDOFF_JWT_SESSION_CLAIM", .type = CONFIG_TEXT, .offset = FIELD(jwt_session_claim),
     .services = API | FANOUT, .fallback = "session_id",
     .help = "Claim that confines a token to one session; another name where the identity provider has this one for something else."},
    {.name = "HANDOFF_SESSION_TOKEN_KEY", .type = CONFIG_PATH, .offset = FIELD(session_token_key),
     .services = API | FANOUT, .fallback = "",
     .help = "PEM file of the private key (P-256) that session_api signs session tokens with; empty: there are none. ws_fanout has use for it only without HANDOFF_SESSION_TOKEN_PUBLIC_KEYS.",
     .reload = CONFIG_RELOADS_CONTENTS},
    {.name = "HANDOFF_SESSION_TOKEN_PUBLIC_KEYS", .type = CONFIG_PATH,
     .offset = FIELD(session_token_public_keys), .services = API | FANOUT, .fallback = "",
     .help = "PEM file of the one or two public keys (P-256) that session tokens are verified with; empty: that of HANDOFF_SESSION_TOKEN_KEY.",
     .reload = CONFIG_RELOADS_CONTENTS},

    {.name = "HANDOFF_API_LISTEN", .type = CONFIG_ADDRESS, .offset = FIELD(listen),
     .services = API, .fallback = "0.0.0.0:8080", .help = "Where REST is served."},
    {.name = "HANDOFF_WS_LISTEN", .type = CONFIG_ADDRESS, .offset = FIELD(listen),
     .services = FANOUT, .fallback = "0.0.0.0:8081", .help = "Where WebSockets are served."},
    {.name = "HANDOFF_ALLOWED_ORIGINS", .type = CONFIG_ORIGINS, .offset = FIELD(allowed_origins),
     .services = API | FANOUT, .fallback = "",
     .help = "Origins of browser pages that may call; empty: none."},
    {.name = "HANDOFF_MAX_CONNECTIONS", .type = CONFIG_INTEGER, .offset = FIELD(max_connections),
     .services = API | FANOUT, .fallback = "10000", .least = 1, .most = 1000000,
     .help = "Connections at a time, above: not accepted."},

    /* At most 10 s: the delta window remembers commands for 15 s (save.lua). */
    {.name = "HANDOFF_COMMAND_DEADLINE", .type = CONFIG_DURATION,
     .offset = FIELD(command_deadline_ms), .services = API | FANOUT, .fallback = "5s",
     .least = MS(100), .most = S(10), .help = "How long a command may take, then: timeout."},
    {.name = "HANDOFF_MAX_COMMANDS_IN_FLIGHT", .type = CONFIG_INTEGER,
     .offset = FIELD(max_commands_in_flight), .services = API | FANOUT, .fallback = "4096",
     .least = 1, .most = 1000000, .help = "Commands waiting for their reply, above: 503."},
    {.name = "HANDOFF_REQUEST_TIMEOUT", .type = CONFIG_DURATION,
     .offset = FIELD(request_timeout_ms), .services = API, .fallback = "15s", .least = MS(100),
     .most = S(3600), .help = "Time to send a request's headers and body, then closed."},
    {.name = "HANDOFF_MAX_BODY_BYTES", .type = CONFIG_SIZE, .offset = FIELD(max_body_bytes),
     .services = API, .fallback = "1MiB", .least = KIB(1), .most = MIB(8),
     .help = "Largest request body, above: 413."},
    {.name = "HANDOFF_MAX_SESSIONS_PER_USER", .type = CONFIG_INTEGER,
     .offset = FIELD(max_sessions_per_user), .services = API, .fallback = "10000", .least = 1,
     .most = 100000000, .help = "Sessions of a user that are not final, above: 429."},
    {.name = "HANDOFF_API_USER_REQUESTS_PER_SECOND", .type = CONFIG_INTEGER,
     .offset = FIELD(api_user_requests_per_second), .services = API, .fallback = "0", .least = 0,
     .most = 100000, .help = "Requests of a user to all instances together, above: 429; 0: no limit."},
    {.name = "HANDOFF_API_USER_REQUESTS_BURST", .type = CONFIG_INTEGER,
     .offset = FIELD(api_user_requests_burst), .services = API, .fallback = "0", .least = 0,
     .most = 1000000, .help = "How many of them may come at once; 0: twice those a second."},
    {.name = "HANDOFF_API_ADDRESS_REQUESTS_PER_SECOND", .type = CONFIG_INTEGER,
     .offset = FIELD(api_address_requests_per_second), .services = API, .fallback = "0", .least = 0,
     .most = 100000, .help = "Requests of a client address (of IPv6: its /64) to all instances together, above: 429; 0: no limit."},
    {.name = "HANDOFF_API_ADDRESS_REQUESTS_BURST", .type = CONFIG_INTEGER,
     .offset = FIELD(api_address_requests_burst), .services = API, .fallback = "0", .least = 0,
     .most = 1000000, .help = "How many of them may come at once; 0: twice those a second."},
    {.name = "HANDOFF_TRUSTED_PROXIES", .type = CONFIG_NETWORKS,
     .offset = FIELD(trusted_proxies), .services = API, .fallback = "",
     .help = "Proxies that are believed about X-Forwarded-For; empty: none."},
    {.name = "HANDOFF_CONSOLE", .type = CONFIG_BOOLEAN, .offset = FIELD(console), .services = API,
     .fallback = "off",
     .help = "Serve the console, a page that shows sessions to who has a token, at / and /console/."},
    {.name = "HANDOFF_PUBLIC_WS_URL", .type = CONFIG_URL, .offset = FIELD(public_ws_url),
     .services = API, .fallback = "", .choices = "ws wss",
     .help = "Where the console's page reaches ws_fanout (/ws is added); empty: at the host that it was asked for, where port 8080 becomes 8081."},
    {.name = "HANDOFF_CODE_URL", .type = CONFIG_CODE_URL, .offset = FIELD(code_url),
     .services = API, .fallback = "http://localhost:8080/#code={code}",
     .help = "What a handoff code's QR code says: the app's address, with {code} behind a # so that no server's log has it."},

    {.name = "HANDOFF_SNAPSHOT_EVERY", .type = CONFIG_INTEGER, .offset = FIELD(snapshot_every),
     .services = ENGINE, .fallback = "50", .least = 1, .most = 1000,
     .help = "A snapshot each so many versions."},
    {.name = "HANDOFF_COLD_AFTER", .type = CONFIG_DURATION, .offset = FIELD(cold_after_ms),
     .services = ENGINE, .fallback = "1h", .least = S(1), .most = S(2592000),
     .help = "Unused for so long (and for 10s at least) a session leaves Redis for PostgreSQL."},
    {.name = "HANDOFF_MAX_KEPT_BYTES", .type = CONFIG_SIZE, .offset = FIELD(max_kept_bytes),
     .services = ENGINE, .fallback = "8MiB", .least = 0, .most = MIB(1024),
     .help = "Sessions that the engine keeps in memory, to save Redis their loads; 0: none."},
    {.name = "HANDOFF_MAX_BATCH", .type = CONFIG_INTEGER, .offset = FIELD(max_batch),
     .services = ENGINE | AUDIT, .fallback = "256", .by_service = {NULL, "256", NULL, "500"},
     .least = 1, .most = 4096, .help = "Commands, or rows, taken at a time."},
    {.name = "HANDOFF_AUDIT_WAIT", .type = CONFIG_DURATION, .offset = FIELD(audit_wait_ms),
     .services = AUDIT, .fallback = "50ms", .least = MS(0), .most = S(1),
     .help = "Longest that a row waits for others."},
    {.name = "HANDOFF_PURGE_AFTER", .type = CONFIG_DURATION, .offset = FIELD(purge_after_ms),
     .services = AUDIT, .fallback = "720h", .least = MS(0), .most = S(10 * 365 * 86400),
     .help = "How long PostgreSQL keeps what is in a deleted session, 24h or more; 0s: for ever."},

    {.name = "HANDOFF_FANOUT_BINDING", .type = CONFIG_CHOICE, .offset = FIELD(fanout_binding),
     .services = FANOUT, .fallback = "all", .choices = "all session",
     .help = "Bind everything (right for up to two instances) or each session with devices here."},
    {.name = "HANDOFF_AUTH_TIMEOUT", .type = CONFIG_DURATION, .offset = FIELD(auth_timeout_ms),
     .services = FANOUT, .fallback = "5s", .least = MS(100), .most = S(60),
     .help = "Time until a new connection must have authenticated."},
    {.name = "HANDOFF_PING_AFTER", .type = CONFIG_DURATION, .offset = FIELD(ping_after_ms),
     .services = FANOUT, .fallback = "25s", .least = S(1), .most = S(3600),
     .help = "Silence after which a connection is pinged."},
    {.name = "HANDOFF_PONG_TIMEOUT", .type = CONFIG_DURATION, .offset = FIELD(pong_timeout_ms),
     .services = FANOUT, .fallback = "10s", .least = S(1), .most = S(3600),
     .help = "Time to answer a ping, then closed."},
    {.name = "HANDOFF_MAX_OUTBOX_BYTES", .type = CONFIG_SIZE, .offset = FIELD(max_outbox_bytes),
     .services = FANOUT, .fallback = "1MiB", .least = KIB(64), .most = MIB(64),
     .help = "A slow connection's queue; past it deltas give way to one state_sync."},
    {.name = "HANDOFF_WS_OUTBOX_TOTAL", .type = CONFIG_SIZE, .offset = FIELD(max_outbox_total_bytes),
     .services = FANOUT, .fallback = "256MiB", .least = MIB(1), .most = MIB(65536),
     .help = "What waits for all slow connections; past it each keeps 64 KiB."},
    {.name = "HANDOFF_STUCK_TIMEOUT", .type = CONFIG_DURATION, .offset = FIELD(stuck_timeout_ms),
     .services = FANOUT, .fallback = "30s", .least = MS(100), .most = S(3600),
     .help = "A connection that takes nothing for so long is closed."},
    {.name = "HANDOFF_MAX_SUBSCRIPTIONS", .type = CONFIG_INTEGER,
     .offset = FIELD(max_subscriptions), .services = FANOUT, .fallback = "64", .least = 1,
     .most = 10000, .help = "Sessions that one connection may carry."},
    {.name = "HANDOFF_MAX_MESSAGE_BYTES", .type = CONFIG_SIZE,
     .offset = FIELD(max_message_bytes), .services = FANOUT, .fallback = "64KiB",
     .least = KIB(1), .most = MIB(8), .help = "Largest WebSocket message from a client."},
    {.name = "HANDOFF_WS_MESSAGES_PER_SECOND", .type = CONFIG_INTEGER,
     .offset = FIELD(ws_messages_per_second), .services = FANOUT, .fallback = "100", .least = 0,
     .most = 1000000, .help = "Messages that one connection may send, twice as many at once; 0: no limit."},
    {.name = "HANDOFF_WS_BYTES_PER_SECOND", .type = CONFIG_SIZE,
     .offset = FIELD(ws_bytes_per_second), .services = FANOUT, .fallback = "1MiB", .least = 0,
     .most = MIB(1024), .help = "Bytes of messages that one connection may send, twice as many at once; 0: no limit."},
    {.name = "HANDOFF_WS_CONNECTIONS_PER_USER", .type = CONFIG_INTEGER,
     .offset = FIELD(ws_connections_per_user), .services = FANOUT, .fallback = "100", .least = 1,
     .most = 1000000, .help = "WebSockets of one user to one instance, above: refused."},
    {.name = NULL},
};
/* clang-format on */

const struct config_row *config_rows(void) {
    return rows;
}

const char *config_row_fallback(const struct config_row *row, enum config_service service) {
    const char *own = row->by_service[ffs((int)service) - 1];
    return own ? own : row->fallback;
}

bool config_row_may_be_file(const struct config_row *row) {
    return row->type == CONFIG_SECRET || row->type == CONFIG_URL || row->may_be_file;
}

const char *config_service_name(enum config_service service) {
    static const char *const names[] = {"session_api", "state_engine", "ws_fanout", "audit_writer",
                                        "handoff"};
    return names[ffs((int)service) - 1];
}
