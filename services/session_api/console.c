/* The console's files; see console.h. Each answer has a policy under which the page can load and
 * ask nothing but this service and ws_fanout, and run no code but these files. */
#include "services/session_api/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/embedded.h"
#include "base/hash.h"
#include "proto/text.h"
#include "services/session_api/api.h"

#define TAG_HEX_LEN 32
#define HOST_MAX 260

extern const struct embedded embedded_console[], embedded_client[];

struct file {
    const struct embedded *source;
    const char *type;
    size_t len;
    char tag[TAG_HEX_LEN + 3];
};

struct console {
    const struct config *config; /* borrowed */
    struct file *files;          /* of both lists, in their order */
    size_t n_files, n_own;       /* the page's own come first */
};

/* ---- where the sockets are ---- */

/* The length of host[:port]; 0 for what is none that a policy can name. */
static size_t host_len(const char *text) {
    static const char name[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
    size_t len = strspn(text, name);
    if (len == 0)
        return 0;
    if (text[len] == ':') {
        size_t digits = strspn(text + len + 1, "0123456789");
        if (digits == 0 || digits > 5)
            return 0;
        len += 1 + digits;
    }
    return len <= HOST_MAX ? len : 0;
}

static void print_policy(bool is_secure, const char *host, size_t len,
                         struct console_sources *ret) {
    const char *s = is_secure ? "s" : "";
    snprintf(ret->policy, sizeof(ret->policy), " ws%s://%.*s http%s://%.*s", s, (int)len, host, s,
             (int)len, host);
}

static bool find_configured(const char *url, struct console_sources *ret) {
    bool is_secure = strncmp(url, "wss://", 6) == 0;
    const char *host = url + (is_secure ? 6 : 5);
    size_t len = host_len(host), url_len = strlen(url);
    if (len == 0 || (host[len] && host[len] != '/') || strpbrk(url, "\\?#") ||
        url_len >= sizeof(ret->url) || !text_is_printable(url, url_len))
        return false;
    strcpy(ret->url, url);
    print_policy(is_secure, host, len, ret);
    return true;
}

bool console_find_sources(const char *public_url, const char *host, struct console_sources *ret) {
    static const char api_port[] = ":8080";
    *ret = (struct console_sources){0};
    if (*public_url)
        return find_configured(public_url, ret);
    size_t len = host ? host_len(host) : 0;
    if (len == 0 || host[len])
        return true;
    char there[HOST_MAX + 1];
    memcpy(there, host, len + 1);
    size_t n = sizeof(api_port) - 1;
    if (len > n && strcmp(there + len - n, api_port) == 0)
        there[len - 1] = '1';
    snprintf(ret->url, sizeof(ret->url), "ws://%s", there);
    print_policy(false, there, len, ret);
    return true;
}

/* ---- files ---- */

static const char *type_of(const char *name) {
    static const struct {
        const char *ending, *type;
    } types[] = {{".html", "text/html; charset=utf-8"},
                 {".css", "text/css; charset=utf-8"},
                 {".js", "text/javascript; charset=utf-8"},
                 {".svg", "image/svg+xml"}};
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && i < N_ELEMENTS(types); i++)
        if (strcmp(ending, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

static size_t n_embedded(const struct embedded *list) {
    size_t n = 0;
    while (list[n].name)
        n++;
    return n;
}

static void take_files(struct console *console, const struct embedded *list) {
    for (; list->name; list++) {
        struct file *file = &console->files[console->n_files++];
        char hex[HASH_HEX_LEN + 1];
        file->source = list;
        file->type = type_of(list->name);
        file->len = strlen(list->text);
        hash_sha256_hex(list->text, file->len, hex);
        snprintf(file->tag, sizeof(file->tag), "\"%.*s\"", TAG_HEX_LEN, hex);
    }
}

int console_new(struct console **ret, const struct config *config) {
    struct console_sources sources;
    *ret = NULL;
    if (!config->console)
        return 0;
    if (!console_find_sources(config->public_ws_url, NULL, &sources))
        return -EINVAL;
    struct console *console = must_alloc(sizeof(*console));
    size_t n = n_embedded(embedded_console) + n_embedded(embedded_client);
    console->config = config;
    console->files = must_alloc(n * sizeof(*console->files));
    take_files(console, embedded_console);
    console->n_own = console->n_files;
    take_files(console, embedded_client);
    *ret = console;
    return 0;
}

struct console *console_free(struct console *console) {
    if (console)
        free(console->files);
    free(console);
    return NULL;
}

/* name: what follows /console/. */
static const struct file *find(const struct console *console, const char *name) {
    static const char client[] = "client/";
    bool is_client = strncmp(name, client, sizeof(client) - 1) == 0;
    size_t i = is_client ? console->n_own : 0;
    size_t end = is_client ? console->n_files : console->n_own;
    for (name += is_client ? sizeof(client) - 1 : 0; i < end; i++)
        if (strcmp(console->files[i].source->name, name) == 0)
            return &console->files[i];
    return NULL;
}

/* ---- answers ---- */

/* Borrowed by the call's headers until it is answered. */
static void add_policy(struct call *call, const struct console_sources *sources,
                       struct buf *policy) {
    buf_printf(policy,
               "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
               "connect-src 'self'%s; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
               "require-trusted-types-for 'script'; trusted-types 'none'",
               sources->policy);
    call_add_header(call, "Content-Security-Policy", policy->data);
    call_add_header(call, "X-Content-Type-Options", "nosniff");
    call_add_header(call, "Referrer-Policy", "no-referrer");
    call_add_header(call, "Cross-Origin-Opener-Policy", "same-origin");
    call_add_header(call, "Cross-Origin-Resource-Policy", "same-origin");
}

static void answer_config(struct call *call, const struct console_sources *sources) {
    struct buf body = BUF_NULL;
    if (sources->url[0])
        buf_printf(&body, "{\"webSocketUrl\":\"%s\"}", sources->url);
    else
        buf_puts(&body, "{\"webSocketUrl\":null}");
    call_answer_file(call, 200, "application/json", body.data, body.len);
    buf_done(&body);
}

static void answer_file(struct call *call, const struct file *file) {
    const char *known = http_header(call->request, "If-None-Match");
    call_add_header(call, "ETag", file->tag);
    if (headers_if_none_match_tag(known, file->tag))
        call_answer_file(call, 304, NULL, NULL, 0);
    else
        call_answer_file(call, 200, file->type, file->source->text, file->len);
}

void console_answer(struct console *console, struct call *call) {
    static const char prefix[] = "/console/";
    struct console_sources sources;
    _cleanup_(buf_done) struct buf policy = BUF_NULL;
    const char *path = http_path(call->request);
    bool is_below = strncmp(path, prefix, sizeof(prefix) - 1) == 0;
    const char *name = is_below ? path + sizeof(prefix) - 1 : "";
    (void)console_find_sources(console->config->public_ws_url, http_header(call->request, "Host"),
                               &sources);
    add_policy(call, &sources, &policy);
    if (strcmp(name, "config.json") == 0) {
        answer_config(call, &sources);
        return;
    }
    const struct file *file = find(console, *name ? name : "index.html");
    if (file)
        answer_file(call, file);
    else
        call_refuse_with(call, FAULT_NOT_FOUND, "there is nothing at this path");
}
