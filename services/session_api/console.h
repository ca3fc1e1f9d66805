/* The console: a page for who builds on Handoff, and its files, compiled into session_api
 * (services/session_api/console/, and clients/js as it was compiled). Served where HANDOFF_CONSOLE
 * says so; nothing of a session is in it. */
#pragma once

#include "base/cleanup.h"
#include "common/config.h"

struct call;
struct console;

/* A host name, a port, and what stands around them. */
#define CONSOLE_URL_CAP 512

/* Where the page finds WebSocket and event streams. */
struct console_sources {
    char url[CONSOLE_URL_CAP]; /* ws://host:port; "" when it cannot be told */
    char
        policy[2 * CONSOLE_URL_CAP]; /* the same as sources of a connect-src, a blank before each */
};

/* public_url: as configured, "" without; else it is at the host that was asked for (a Host header,
 * or NULL), where port 8080 becomes 8081. Only names and IPv4 addresses: a policy has no others.
 * False when public_url is not of that kind; a host that is not leads to no sources. Pure. */
bool console_find_sources(const char *public_url, const char *host, struct console_sources *ret);

/* 0 or -EINVAL: HANDOFF_PUBLIC_WS_URL. *ret is NULL where the console is off. config is borrowed.
 */
MUSTCHECK int console_new(struct console **ret, const struct config *config);
struct console *console_free(struct console *console);
/* Answers GET and HEAD of one of its files; else 404. The path is compared raw. */
void console_answer(struct console *console, struct call *call);
