/* The service's own files; see files.h. Their bytes are never copied: however many take them
 * slowly, there is one of each. */
#include "services/session_api/files.h"

#include <string.h>

#include "base/embedded.h"
#include "base/hash.h"
#include "services/session_api/api.h"

#define TAG_HEX_LEN 32

struct file {
    const char *prefix;
    const struct embedded *source;
    const char *type;
    size_t len;
    char tag[TAG_HEX_LEN + 3];
};

struct files {
    struct file *list;
    size_t n;
};

static const char *type_of(const char *name) {
    static const struct {
        const char *ending, *type;
    } types[] = {{".html", "text/html; charset=utf-8"},
                 {".css", "text/css; charset=utf-8"},
                 {".js", "text/javascript; charset=utf-8"},
                 {".svg", "image/svg+xml"},
                 {".json", "application/json"},
                 {".yaml", "application/yaml"}};
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && i < N_ELEMENTS(types); i++)
        if (strcmp(ending, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

static void take(struct file *file, const char *prefix, const struct embedded *source) {
    char hex[HASH_HEX_LEN + 1];
    *file = (struct file){.prefix = prefix, .source = source, .type = type_of(source->name)};
    file->len = strlen(source->text);
    hash_sha256_hex(source->text, file->len, hex);
    snprintf(file->tag, sizeof(file->tag), "\"%.*s\"", TAG_HEX_LEN, hex);
}

struct files *files_new(const struct files_list *lists, size_t n_lists) {
    struct files *files = must_alloc(sizeof(*files));
    size_t n = 0;
    for (size_t i = 0; i < n_lists; i++)
        for (const struct embedded *e = lists[i].files; e->name; e++)
            n++;
    files->list = must_alloc((n ? n : 1) * sizeof(*files->list));
    for (size_t i = 0; i < n_lists; i++)
        for (const struct embedded *e = lists[i].files; e->name; e++)
            take(&files->list[files->n++], lists[i].prefix, e);
    return files;
}

struct files *files_free(struct files *files) {
    if (files)
        free(files->list);
    free(files);
    return NULL;
}

const struct file *files_find(const struct files *files, const char *name) {
    for (size_t i = 0; i < files->n; i++) {
        const struct file *file = &files->list[i];
        size_t len = strlen(file->prefix);
        if (strncmp(file->prefix, name, len) == 0 && strcmp(file->source->name, name + len) == 0)
            return file;
    }
    return NULL;
}

const char *files_name(const struct call *call, const char *folder) {
    const char *path = http_path(call->request);
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && path[len] == '/' ? path + len + 1 : "";
}

void files_add_headers(struct call *call, const char *policy) {
    call_add_header(call, "Content-Security-Policy", policy);
    call_add_header(call, "X-Content-Type-Options", "nosniff");
    call_add_header(call, "Referrer-Policy", "no-referrer");
    call_add_header(call, "Cross-Origin-Opener-Policy", "same-origin");
    call_add_header(call, "Cross-Origin-Resource-Policy", "same-origin");
}

void files_answer(struct call *call, const struct file *file) {
    if (!file) {
        call_refuse_with(call, FAULT_NOT_FOUND, "there is nothing at this path");
        return;
    }
    const char *known = http_header(call->request, "If-None-Match");
    call_add_header(call, "ETag", file->tag);
    if (headers_if_none_match_tag(known, file->tag))
        call_answer_file(call, 304, NULL, NULL, 0);
    else
        call_answer_file(call, 200, file->type, file->source->text, file->len);
}
