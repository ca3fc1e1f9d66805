/* A request's headers as libmicrohttpd hands them on, a line "name:value" each. What passes has one
 * end for every party between the client and us: the strict rules of RFC 9112, section 6, said here
 * once more, agree. Values of a name are told joined, in order. */
#include <strings.h>

#include "common/http_server.h"
#include "fuzz_json.h"

#define HOST_CHARACTERS                                                                            \
    "-._~!$&'()*+,;=:[]%0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

struct seen {
    size_t n_hosts, n_lengths, n_codings;
    bool is_bad;
    char first_length[20];
};

static bool is_token(const char *name) {
    return *name && strspn(name, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz") == strlen(name);
}

static const char *skip_zeros(const char *digits) {
    while (*digits == '0' && digits[1])
        digits++;
    return digits;
}

static void note_length(struct seen *s, const char *value) {
    size_t len = strlen(value);
    if (len < 1 || len > 18 || strspn(value, "0123456789") != len) {
        s->is_bad = true;
        return;
    }
    if (s->n_lengths++ == 0)
        strcpy(s->first_length, skip_zeros(value));
    else if (strcmp(s->first_length, skip_zeros(value)) != 0)
        s->is_bad = true;
}

static void note(struct seen *s, const char *name, const char *value) {
    static const char *const known[] = {"Content-Length", "Host", "Transfer-Encoding"};
    for (size_t i = 0; i < N_ELEMENTS(known); i++)
        if (strncasecmp(name, known[i], strlen(known[i])) == 0 && name[strlen(known[i])])
            s->is_bad = true;
    s->is_bad = s->is_bad || !is_token(name) || strchr(value, '\r');
    if (strcasecmp(name, known[1]) == 0) {
        s->n_hosts++;
        s->is_bad = s->is_bad || strspn(value, HOST_CHARACTERS) != strlen(value);
    }
    if (strcasecmp(name, known[0]) == 0)
        note_length(s, value);
    if (strcasecmp(name, known[2]) == 0) {
        s->n_codings++;
        s->is_bad = s->is_bad || strcasecmp(value, "chunked") != 0;
    }
}

static void check_framing(const struct http_framing *f, const struct seen *s) {
    static const char *const versions[] = {"HTTP/1.1", "HTTP/1.0"};
    for (size_t i = 0; i < N_ELEMENTS(versions); i++) {
        bool is_bad = s->is_bad || s->n_hosts > 1 || s->n_codings > 1 ||
                      (s->n_codings && (s->n_lengths || i == 1)) || (!s->n_hosts && i == 0);
        must_hold(http_framing_is_bad(f, versions[i]) == is_bad);
    }
}

/* All of that name, as one field's value. */
static void check_joined(struct http_request *r, const char *name) {
    struct buf joined = BUF_NULL;
    size_t n = 0;
    for (size_t i = 0; i < r->n_headers; i++)
        if (strlen(name) == r->headers[i].name_len && strcasecmp(r->headers[i].name, name) == 0) {
            buf_puts(&joined, n++ ? ", " : "");
            buf_puts(&joined, r->headers[i].value ? r->headers[i].value : "");
        }
    const char *told = http_header(r, name);
    must_hold(http_n_headers(r, name) == n && !told == (n == 0));
    must_hold(!told || strcmp(told, joined.data ? joined.data : "") == 0);
    buf_done(&joined);
}

/* A head that is as long as its lines are told is whole, and no other. */
static void check_length(const struct http_framing *f, size_t n_lines_bytes) {
    static const size_t line = 16, breaks = 4;
    must_hold(http_framing_is_whole(f, line, line + n_lines_bytes + breaks));
    must_hold(!http_framing_is_whole(f, line, line + n_lines_bytes + breaks + 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size), *at = text;
    struct http_request *r = http_request_new("/");
    struct http_framing f = {0};
    struct seen s = {0};
    size_t n_bytes = 0;
    while (at && *at) {
        char *name = strsep(&at, "\n"), *value = strchr(name, ':');
        size_t name_len = value ? (size_t)(value - name) : strlen(name);
        n_bytes += strlen(name) + (value ? 2 : 3); /* a colon that is not told of */
        if (value)
            *value++ = '\0';
        http_framing_take(&f, name, name_len, value, value ? strlen(value) : 0);
        http_request_add_header(r, name, name_len, value);
        note(&s, name, value ? value : "");
    }
    check_framing(&f, &s);
    check_length(&f, n_bytes);
    for (size_t i = 0; i < r->n_headers && i < 20; i++)
        check_joined(r, r->headers[i].name);
    check_joined(r, "X-Absent");
    http_request_free(r);
    free(text);
    return 0;
}
