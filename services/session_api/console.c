/* The console's files; see console.h. Each answer has a policy under which the page can load and
 * ask nothing but this service and ws_fanout, and run no code but these files. */
#include "services/session_api/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/embedded.h"
#include "proto/text.h"
#include "services/session_api/api.h"

#define HOST_MAX 260

extern const struct embedded embedded_console[], embedded_client[];

struct console {
    const struct config *config; /* borrowed */
    struct files *files;
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

/* ---- the console ---- */

int console_new(struct console **ret, const struct config *config) {
    struct console_sources sources;
    *ret = NULL;
    if (!config->console)
        return 0;
    if (!console_find_sources(config->public_ws_url, NULL, &sources))
        return -EINVAL;
    static const struct files_list lists[] = {{"", embedded_console}, {"client/", embedded_client}};
    struct console *console = must_alloc(sizeof(*console));
    console->config = config;
    console->files = files_new(lists, N_ELEMENTS(lists));
    *ret = console;
    return 0;
}

struct console *console_free(struct console *console) {
    if (console)
        files_free(console->files);
    free(console);
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
    files_add_headers(call, policy->data);
}

static void answer_config(struct call *call, const struct console_sources *sources) {
    struct buf body = BUF_NULL;
    if (sources->url[0])
        buf_printf(&body, "{\"webSocketUrl\":\"%s\"}", sources->url);
    else
        buf_puts(&body, "{\"webSocketUrl\":null}");
    call_answer_text(call, 200, "application/json", &body);
}

void console_answer(struct console *console, struct call *call) {
    struct console_sources sources;
    _cleanup_(buf_done) struct buf policy = BUF_NULL;
    const char *name = files_name(call, "/console");
    (void)console_find_sources(console->config->public_ws_url, http_header(call->request, "Host"),
                               &sources);
    add_policy(call, &sources, &policy);
    if (strcmp(name, "config.json") == 0)
        answer_config(call, &sources);
    else
        files_answer(call, files_find(console->files, *name ? name : "index.html"));
}
