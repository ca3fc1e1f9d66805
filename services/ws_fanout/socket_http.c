/* HTTP up to the upgrade or the stream, in libwebsockets 4.1: it accepts POST, any version and any
 * key, so the handshake is judged here. Every answer is the last of its connection. */
#include <string.h>

#include "services/ws_fanout/socket_private.h"

#define WEBSOCKET_KEY_LEN 24

static const char *status_text(int status) {
    static const struct {
        int status;
        const char *text;
    } texts[] = {{200, "OK"},
                 {204, "No Content"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {426, "Upgrade Required"},
                 {429, "Too Many Requests"},
                 {500, "Internal Server Error"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"}};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Error";
}

void socket_print_answer(struct socket_answer *answer, struct buf *out) {
    buf_reserve(out, 512 + answer->headers.len + answer->body.len);
    buf_printf(out, "HTTP/1.1 %d %s\r\n", answer->status, status_text(answer->status));
    if (answer->headers.len)
        buf_put(out, answer->headers.data, answer->headers.len);
    buf_puts(out, "Cache-Control: no-store\r\nX-API-Version: 1\r\nConnection: close\r\n");
    if (!answer->is_stream && answer->status != 204)
        buf_printf(out, "Content-Length: %zu\r\n", answer->body.len);
    buf_puts(out, "\r\n");
    if (answer->body.len && !answer->is_head)
        buf_put(out, answer->body.data, answer->body.len);
    buf_done(&answer->headers);
    buf_done(&answer->body);
}

/* Returns -1: lws closes. */
static int answer_http(struct lws *lws, struct socket_answer *answer) {
    static const char room[LWS_PRE];
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    buf_put(&out, room, sizeof(room));
    socket_print_answer(answer, &out);
    lws_write(lws, (unsigned char *)out.data + LWS_PRE, out.len - LWS_PRE, LWS_WRITE_HTTP_HEADERS);
    return -1;
}

/* A header's value, owned; NULL when it is not there. */
static char *copy_header(struct lws *lws, enum lws_token_indexes token) {
    int len = lws_hdr_total_length(lws, token);
    if (len <= 0)
        return NULL;
    char *value = must_alloc((size_t)len + 1);
    if (lws_hdr_copy(lws, value, len + 1, token) < 0)
        value[0] = '\0';
    return value;
}

static bool header_is(struct lws *lws, enum lws_token_indexes token, const char *value) {
    _cleanup_(freep) char *got = copy_header(lws, token);
    return got && strcasecmp(got, value) == 0;
}

static void take_query(struct lws *lws, struct socket_request *r) {
    char pair[sizeof(r->query[0].name) + SOCKET_QUERY_CAP];
    for (int i = 0; lws_hdr_fragment_length(lws, WSI_TOKEN_HTTP_URI_ARGS, i) > 0; i++) {
        int len = lws_hdr_copy_fragment(lws, pair, sizeof(pair), WSI_TOKEN_HTTP_URI_ARGS, i);
        char *value = len > 0 ? strchr(pair, '=') : NULL;
        size_t n_name = value ? (size_t)(value - pair) : (size_t)(len > 0 ? len : 0);
        if (len < 0 || r->n_query == SOCKET_N_QUERY || n_name >= sizeof(r->query[0].name) ||
            (value && strlen(value + 1) >= SOCKET_QUERY_CAP)) {
            r->query_too_long = true;
            return;
        }
        memcpy(r->query[r->n_query].name, pair, n_name);
        if (value)
            strcpy(r->query[r->n_query].value, value + 1);
        r->n_query++;
    }
}

static bool has_one(struct lws *lws, enum lws_token_indexes token) {
    return lws_hdr_total_length(lws, token) > 0 && lws_hdr_fragment_length(lws, token, 1) <= 0;
}

/* Whether a list of words has that one. */
static bool header_has(struct lws *lws, enum lws_token_indexes token, const char *word) {
    static const char between[] = ", \t";
    _cleanup_(freep) char *list = copy_header(lws, token);
    size_t n_word = strlen(word);
    for (const char *at = list; at && *at;) {
        at += strspn(at, between);
        size_t n = strcspn(at, between);
        if (n == n_word && strncasecmp(at, word, n) == 0)
            return true;
        at += n;
    }
    return false;
}

/* lws itself accepts POST, any version, any key and two hosts; without a Connection to upgrade it
 * hangs up. */
static bool is_websocket_handshake(struct lws *lws, const char *protocol) {
    return protocol && strcasecmp(protocol, "websocket") == 0 &&
           header_has(lws, WSI_TOKEN_CONNECTION, "upgrade") &&
           lws_hdr_total_length(lws, WSI_TOKEN_GET_URI) > 0 && has_one(lws, WSI_TOKEN_HOST) &&
           lws_hdr_total_length(lws, WSI_TOKEN_KEY) == WEBSOCKET_KEY_LEN &&
           header_is(lws, WSI_TOKEN_VERSION, "13") && header_is(lws, WSI_TOKEN_HTTP, "HTTP/1.1");
}

struct method {
    const char *name;
    enum lws_token_indexes path; /* of a request of this method lws keeps the path here */
};

static const struct method *find_method(struct lws *lws) {
    static const struct method methods[] = {
        {"GET", WSI_TOKEN_GET_URI},         {"HEAD", WSI_TOKEN_HEAD_URI},
        {"OPTIONS", WSI_TOKEN_OPTIONS_URI}, {"POST", WSI_TOKEN_POST_URI},
        {"PUT", WSI_TOKEN_PUT_URI},         {"PATCH", WSI_TOKEN_PATCH_URI},
        {"DELETE", WSI_TOKEN_DELETE_URI},
    };
    static const struct method other = {"", WSI_TOKEN_GET_URI};
    for (size_t i = 0; i < N_ELEMENTS(methods); i++)
        if (lws_hdr_total_length(lws, methods[i].path) > 0)
            return &methods[i];
    return &other;
}

/* As copy_header, of one that lws has no token for; white space behind the value, which lws keeps,
 * is cut off. name: in lower case, with its colon. */
static char *copy_custom_header(struct lws *lws, const char *name) {
    int n_name = (int)strlen(name), len = lws_hdr_custom_length(lws, name, n_name);
    if (len <= 0)
        return NULL;
    _cleanup_(freep) char *value = must_alloc((size_t)len + 1);
    if (lws_hdr_custom_copy(lws, value, len + 1, name, n_name) < 0)
        return NULL;
    for (size_t n = strlen(value); n && (value[n - 1] == ' ' || value[n - 1] == '\t'); n--)
        value[n - 1] = '\0';
    return *value ? TAKE_PTR(value) : NULL;
}

enum header {
    HEADER_PATH,
    HEADER_VERSION,
    HEADER_HOST,
    HEADER_ORIGIN,
    HEADER_AUTHORIZATION,
    HEADER_SUBPROTOCOLS,
    HEADER_ASKED_METHOD,
    HEADER_REQUEST_ID,
    HEADER_DEVICE_ID,
    HEADER_LAST_EVENT_ID,
    HEADER_TRACEPARENT,
    N_HEADERS
};

static void copy_headers(struct lws *lws, enum lws_token_indexes path,
                         char *ret[static N_HEADERS]) {
    ret[HEADER_PATH] = copy_header(lws, path);
    ret[HEADER_VERSION] = copy_header(lws, WSI_TOKEN_HTTP);
    ret[HEADER_HOST] = has_one(lws, WSI_TOKEN_HOST) ? copy_header(lws, WSI_TOKEN_HOST) : NULL;
    ret[HEADER_ORIGIN] = copy_header(lws, WSI_TOKEN_ORIGIN);
    ret[HEADER_AUTHORIZATION] = copy_header(lws, WSI_TOKEN_HTTP_AUTHORIZATION);
    ret[HEADER_SUBPROTOCOLS] = copy_header(lws, WSI_TOKEN_PROTOCOL);
    ret[HEADER_ASKED_METHOD] = copy_custom_header(lws, "access-control-request-method:");
    ret[HEADER_REQUEST_ID] = copy_custom_header(lws, "x-request-id:");
    ret[HEADER_DEVICE_ID] = copy_custom_header(lws, "x-device-id:");
    ret[HEADER_LAST_EVENT_ID] = copy_custom_header(lws, "last-event-id:");
    ret[HEADER_TRACEPARENT] = copy_custom_header(lws, "traceparent:");
}

typedef bool judge_fn(void *arg, const struct socket_request *request, void **ret_user,
                      struct socket_answer *answer);

static bool ask(struct lws *lws, judge_fn *judge, void *arg, void **ret_user,
                struct socket_answer *answer) {
    const struct method *method = find_method(lws);
    char *headers[N_HEADERS];
    copy_headers(lws, method->path, headers);
    struct socket_request request = {
        .method = method->name,
        .path = headers[HEADER_PATH] ? headers[HEADER_PATH] : "",
        .version = headers[HEADER_VERSION] ? headers[HEADER_VERSION] : "",
        .host = headers[HEADER_HOST],
        .origin = headers[HEADER_ORIGIN],
        .authorization = headers[HEADER_AUTHORIZATION],
        .subprotocols = headers[HEADER_SUBPROTOCOLS],
        .request_id = headers[HEADER_REQUEST_ID],
        .device_id = headers[HEADER_DEVICE_ID],
        .last_event_id = headers[HEADER_LAST_EVENT_ID],
        .traceparent = headers[HEADER_TRACEPARENT],
        .asked_method = headers[HEADER_ASKED_METHOD],
        .has_body = (lws_hdr_total_length(lws, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0 &&
                     !header_is(lws, WSI_TOKEN_HTTP_CONTENT_LENGTH, "0")) ||
                    lws_hdr_total_length(lws, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0,
        .has_upgrade = lws_hdr_total_length(lws, WSI_TOKEN_UPGRADE) > 0,
    };
    take_query(lws, &request);
    bool taken = judge(arg, &request, ret_user, answer);
    for (size_t i = 0; i < N_HEADERS; i++)
        free(headers[i]);
    return taken;
}

/* What asks for another upgrade than a WebSocket of version 13 is answered as any other request;
 * lws would not let it become a stream. */
int socket_confirm_upgrade(struct socket_server *server, struct lws *lws, const char *protocol) {
    const struct socket_options *o = &server->options;
    bool is_websocket = is_websocket_handshake(lws, protocol);
    struct socket_answer answer = {0};
    void *user = NULL;
    if (!ask(lws, is_websocket ? o->callbacks.accept : o->callbacks.request, o->arg, &user,
             &answer))
        return answer_http(lws, &answer);
    (void)socket_add(server, lws, user);
    return 0;
}

static int answer_unavailable(struct lws *lws) {
    struct socket_answer answer = {.status = 503};
    return answer_http(lws, &answer);
}

int socket_plain_request(struct socket_server *server, struct lws *lws) {
    const struct socket_options *o = &server->options;
    struct socket_answer answer = {0};
    void *user = NULL;
    if (!ask(lws, o->callbacks.request, o->arg, &user, &answer))
        return answer_http(lws, &answer);
    if (stream_begin(server, lws, user) == 0)
        return 0;
    o->callbacks.closed(user);
    return answer_unavailable(lws);
}
