/* The API reference; see docs.h. */
#include "services/session_api/docs.h"

#include <stdio.h>
#include <string.h>

#include "base/embedded.h"
#include "services/session_api/api.h"

#define NAME_CAP 128

extern const struct embedded embedded_docs[];

struct docs {
    struct files *files;
};

struct docs *docs_new(const struct config *config) {
    static const struct files_list list = {"", embedded_docs};
    if (!config->docs)
        return NULL;
    struct docs *docs = must_alloc(sizeof(*docs));
    docs->files = files_new(&list, 1);
    return docs;
}

struct docs *docs_free(struct docs *docs) {
    if (docs)
        files_free(docs->files);
    free(docs);
    return NULL;
}

/* A page's address is its name without the ending; only by that is it there. */
static const struct file *find(const struct docs *docs, const char *name) {
    char page[NAME_CAP];
    const char *ending = strrchr(name, '.');
    if (ending && strcmp(ending, ".html") == 0)
        return NULL;
    if (ending)
        return files_find(docs->files, name);
    int len = snprintf(page, sizeof(page), "%s.html", *name ? name : "index");
    return len < (int)sizeof(page) ? files_find(docs->files, page) : NULL;
}

void docs_answer(struct docs *docs, struct call *call) {
    files_add_headers(call,
                      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                      "require-trusted-types-for 'script'; trusted-types 'none'");
    files_answer(call, find(docs, files_name(call, "/docs")));
}
