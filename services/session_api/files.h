/* Files that are compiled into the service (tools/embed): found by their name, answered with what
 * caches go by. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

struct call;
struct embedded;
struct file;
struct files;

/* lists: borrowed, for ever. Of each, in its order, the list that an entry ends (name NULL); a
 * file is known as its prefix and its name there. */
struct files_list {
    const char *prefix; /* "client/" */
    const struct embedded *files;
};

struct files *files_new(const struct files_list *lists, size_t n_lists);
struct files *files_free(struct files *files);
/* By prefix and name; NULL for what is none. */
const struct file *files_find(const struct files *files, const char *name);
/* What follows the folder in the request's path: "/docs", "/docs/" -> "", "/docs/x" -> "x". The
 * path is compared raw. */
const char *files_name(const struct call *call, const char *folder);

/* Headers that keep a page to itself. policy: a Content-Security-Policy, borrowed until the call is
 * answered. */
void files_add_headers(struct call *call, const char *policy);
/* 200, or 304 when the client has it; 404 for NULL. */
void files_answer(struct call *call, const struct file *file);
