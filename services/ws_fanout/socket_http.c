/* HTTP before the upgrade, in libwebsockets 4.1: it accepts POST, any version and any key, so the
 * handshake is judged here. Every answer but the upgrade ends the connection. */
#include <inttypes.h>
#include <string.h>

#include "services/ws_fanout/socket_private.h"

#define WEBSOCKET_KEY_LEN 24

static const char *status_text(int status) {
    static const struct {
        int status;
        const char *text;
    } texts[] = {{400, "Bad Request"},       {401, "Unauthorized"},
                 {403, "Forbidden"},         {404, "Not Found"},
                 {426, "Upgrade Required"},  {500, "Internal Server Error"},
                 {429, "Too Many Requests"}, {503, "Unavailable"}};
    for (size_t i = 0; i < N_ELEMENTS(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Error";
}

/* Written whole and by hand, since the answer ends the connection anyway. Returns -1: lws closes.
 */
static int answer_http(struct lws *lws, struct socket_refusal *answer) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    buf_reserve(&out, LWS_PRE + 512 + answer->body.len);
    memset(out.data, 0, LWS_PRE);
    out.len = LWS_PRE;
    buf_printf(&out, "HTTP/1.1 %d %s\r\n", answer->status, status_text(answer->status));
    buf_puts(&out, "Content-Type: application/problem+json\r\nCache-Control: no-store\r\n");
    if (answer->challenge)
        buf_printf(&out, "WWW-Authenticate: %s\r\n", answer->challenge);
    if (answer->retry_after_s > 0)
        buf_printf(&out, "Retry-After: %" PRId64 "\r\n", answer->retry_after_s);
    if (answer->status == 426)
        buf_puts(&out, "Upgrade: websocket\r\n");
    buf_printf(&out, "X-API-Version: 1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
               answer->body.len);
    if (answer->body.len)
        buf_put(&out, answer->body.data, answer->body.len);
    buf_done(&answer->body);
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

/* lws itself accepts POST, any version and any key. */
static bool is_websocket_handshake(struct lws *lws, const char *protocol) {
    return protocol && strcasecmp(protocol, "websocket") == 0 &&
           lws_hdr_total_length(lws, WSI_TOKEN_GET_URI) > 0 &&
           lws_hdr_total_length(lws, WSI_TOKEN_HOST) > 0 &&
           lws_hdr_total_length(lws, WSI_TOKEN_KEY) == WEBSOCKET_KEY_LEN &&
           header_is(lws, WSI_TOKEN_VERSION, "13") && header_is(lws, WSI_TOKEN_HTTP, "HTTP/1.1");
}

static bool ask_accept(struct socket_server *server, struct lws *lws, void **ret_user,
                       struct socket_refusal *refusal) {
    _cleanup_(freep) char *path = copy_header(lws, WSI_TOKEN_GET_URI);
    _cleanup_(freep) char *origin = copy_header(lws, WSI_TOKEN_ORIGIN);
    _cleanup_(freep) char *authorization = copy_header(lws, WSI_TOKEN_HTTP_AUTHORIZATION);
    _cleanup_(freep) char *subprotocols = copy_header(lws, WSI_TOKEN_PROTOCOL);
    struct socket_request request = {.path = path,
                                     .origin = origin,
                                     .authorization = authorization,
                                     .subprotocols = subprotocols};
    take_query(lws, &request);
    return server->options.callbacks.accept(server->options.arg, &request, ret_user, refusal);
}

int socket_confirm_upgrade(struct socket_server *server, struct lws *lws, const char *protocol) {
    struct socket_refusal refusal = {0};
    void *user = NULL;
    if (!is_websocket_handshake(lws, protocol)) {
        server->options.callbacks.plain(server->options.arg, &refusal);
        return answer_http(lws, &refusal);
    }
    if (!ask_accept(server, lws, &user, &refusal))
        return answer_http(lws, &refusal);
    struct socket *s = must_alloc(sizeof(*s));
    *s = (struct socket){.server = server, .lws = lws, .user = user, .next = server->sockets};
    if (s->next)
        s->next->prev = s;
    server->sockets = s;
    lws_set_opaque_user_data(lws, s);
    return 0;
}

int socket_plain_request(struct socket_server *server, struct lws *lws) {
    struct socket_refusal answer = {0};
    server->options.callbacks.plain(server->options.arg, &answer);
    return answer_http(lws, &answer);
}
