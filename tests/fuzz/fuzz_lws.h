/* For the fuzz targets of what libwebsockets hands on of a request: headers by name, the query in
 * its parts. An answer that is written has to be one. */
#pragma once

#include <libwebsockets.h>
#include <strings.h>

#include "fuzz_json.h"

#define FUZZ_MAX_HEADERS 32

static struct {
    char *method, *path, *query, *version;
    struct {
        const char *name, *value;
    } headers[FUZZ_MAX_HEADERS];
    size_t n_headers;
    bool has_answer;
} fuzz_request;

static const char *fuzz_header(const char *name) {
    for (size_t i = 0; i < fuzz_request.n_headers; i++)
        if (strcasecmp(fuzz_request.headers[i].name, name) == 0)
            return fuzz_request.headers[i].value;
    return NULL;
}

static const char *fuzz_token_text(enum lws_token_indexes token) {
    static const struct {
        enum lws_token_indexes token;
        const char *name; /* of a header; or the method, whose path it is */
        bool is_path;
    } rows[] = {{WSI_TOKEN_GET_URI, "GET", true},
                {WSI_TOKEN_HEAD_URI, "HEAD", true},
                {WSI_TOKEN_OPTIONS_URI, "OPTIONS", true},
                {WSI_TOKEN_POST_URI, "POST", true},
                {WSI_TOKEN_PUT_URI, "PUT", true},
                {WSI_TOKEN_PATCH_URI, "PATCH", true},
                {WSI_TOKEN_DELETE_URI, "DELETE", true},
                {WSI_TOKEN_HOST, "Host", false},
                {WSI_TOKEN_UPGRADE, "Upgrade", false},
                {WSI_TOKEN_CONNECTION, "Connection", false},
                {WSI_TOKEN_KEY, "Sec-WebSocket-Key", false},
                {WSI_TOKEN_VERSION, "Sec-WebSocket-Version", false},
                {WSI_TOKEN_PROTOCOL, "Sec-WebSocket-Protocol", false},
                {WSI_TOKEN_ORIGIN, "Origin", false},
                {WSI_TOKEN_HTTP_AUTHORIZATION, "Authorization", false},
                {WSI_TOKEN_HTTP_CONTENT_LENGTH, "Content-Length", false},
                {WSI_TOKEN_HTTP_TRANSFER_ENCODING, "Transfer-Encoding", false}};
    if (token == WSI_TOKEN_HTTP)
        return fuzz_request.version;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++)
        if (rows[i].token == token)
            return !rows[i].is_path                                 ? fuzz_header(rows[i].name)
                   : strcmp(rows[i].name, fuzz_request.method) == 0 ? fuzz_request.path
                                                                    : NULL;
    return NULL;
}

static int fuzz_copy(const char *text, char *ret, int cap) {
    int len = text ? (int)strlen(text) : 0;
    if (len >= cap)
        return -1;
    memcpy(ret, text ? text : "", (size_t)len + 1);
    return len;
}

int lws_hdr_total_length(struct lws *lws, enum lws_token_indexes token) {
    (void)lws;
    const char *text = fuzz_token_text(token);
    return text ? (int)strlen(text) : 0;
}

int lws_hdr_copy(struct lws *lws, char *ret, int cap, enum lws_token_indexes token) {
    (void)lws;
    return fuzz_copy(fuzz_token_text(token), ret, cap);
}

/* NULL: there are not so many. */
static const char *fuzz_fragment(int i, int *ret_len) {
    const char *at = fuzz_request.query;
    for (; at && i > 0; i--)
        at = (at = strchr(at, '&')) ? at + 1 : NULL;
    *ret_len = at ? (int)strcspn(at, "&") : 0;
    return at;
}

int lws_hdr_fragment_length(struct lws *lws, enum lws_token_indexes token, int i) {
    int len;
    (void)lws;
    if (token != WSI_TOKEN_HTTP_URI_ARGS) /* each header is there once */
        return i == 0 ? lws_hdr_total_length(lws, token) : 0;
    (void)fuzz_fragment(i, &len);
    return len;
}

int lws_hdr_copy_fragment(struct lws *lws, char *ret, int cap, enum lws_token_indexes token,
                          int i) {
    int len;
    (void)lws, (void)token;
    const char *text = fuzz_fragment(i, &len);
    if (!text || len >= cap)
        return -1;
    memcpy(ret, text, (size_t)len);
    ret[len] = '\0';
    return len;
}

static const char *fuzz_custom(const char *name, int n) {
    char plain[64];
    must_hold(n > 1 && n < 64 && name[n - 1] == ':');
    snprintf(plain, sizeof(plain), "%.*s", n - 1, name);
    return fuzz_header(plain);
}

int lws_hdr_custom_length(struct lws *lws, const char *name, int n) {
    (void)lws;
    const char *text = fuzz_custom(name, n);
    return text ? (int)strlen(text) : -1;
}

int lws_hdr_custom_copy(struct lws *lws, char *ret, int cap, const char *name, int n) {
    (void)lws;
    return fuzz_copy(fuzz_custom(name, n), ret, cap);
}

int lws_write(struct lws *lws, unsigned char *bytes, size_t len, enum lws_write_protocol kind) {
    (void)lws, (void)kind;
    must_hold(!fuzz_request.has_answer && len > 12 && memcmp(bytes, "HTTP/1.1 ", 9) == 0);
    must_hold(memmem(bytes, len, "\r\n\r\n", 4) && memmem(bytes, len, "Connection: close", 17));
    fuzz_request.has_answer = true;
    return (int)len;
}

/* Takes a request off a text, which is changed: its first line, headers, an empty line. What is
 * behind it; NULL: nothing. */
static inline char *fuzz_take_request(char *at) {
    static char nothing[1];
    char *line = strsep(&at, "\n");
    nothing[0] = '\0';
    fuzz_request.method = strsep(&line, " ");
    fuzz_request.path = line ? strsep(&line, " ") : nothing;
    fuzz_request.version = line;
    fuzz_request.query = strchr(fuzz_request.path, '?');
    if (fuzz_request.query)
        *fuzz_request.query++ = '\0';
    while (at && (line = strsep(&at, "\n")) && *line) {
        char *value = strchr(line, ':');
        if (!value || fuzz_request.n_headers == FUZZ_MAX_HEADERS)
            continue;
        *value++ = '\0';
        fuzz_request.headers[fuzz_request.n_headers].name = line;
        fuzz_request.headers[fuzz_request.n_headers++].value = value + strspn(value, " ");
    }
    return at;
}
