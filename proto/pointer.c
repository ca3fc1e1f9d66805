/* JSON Pointer; see pointer.h. All tokens lie unescaped in one allocation, as long as the text. */
#include "proto/pointer.h"

#include <string.h>

#include "base/buf.h"

#define INDEX_MAX (UINT32_C(1) << 31)

static int check_text(const char *text, size_t len, size_t *ret_n_tokens, struct fault *f) {
    if (len > POINTER_MAX_BYTES)
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "path",
                              "a pointer of %zu bytes; %d are allowed", len, POINTER_MAX_BYTES);
    if (len > 0 && text[0] != '/')
        return (int)fault_set(f, FAULT_INVALID_REQUEST, "path",
                              "a pointer is empty or starts with '/'");
    size_t n_tokens = 0;
    for (size_t i = 0; i < len; i++) {
        n_tokens += text[i] == '/';
        if (text[i] == '~' && (i + 1 == len || (text[i + 1] != '0' && text[i + 1] != '1')))
            return (int)fault_set(f, FAULT_INVALID_REQUEST, "path",
                                  "in a pointer only 0 or 1 may follow '~'");
    }
    if (n_tokens > POINTER_MAX_TOKENS)
        return (int)fault_set(f, FAULT_INVALID_VALUE, "path",
                              "a pointer of %zu parts; %d are allowed", n_tokens,
                              POINTER_MAX_TOKENS);
    *ret_n_tokens = n_tokens;
    return 0;
}

int pointer_parse(const char *text, size_t len, struct pointer *ret, struct fault *f) {
    size_t n_tokens = 0;
    int r = check_text(text, len, &n_tokens, f);
    if (r)
        return r;
    struct pointer p = {.n_tokens = n_tokens};
    p.tokens = must_alloc(n_tokens * sizeof(*p.tokens));
    p.storage = must_alloc(len + 1);
    char *end = p.storage;
    struct pointer_token *token = p.tokens;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '/') {
            /* The slash's own byte holds the NUL of the token before it. */
            if (i > 0) {
                *end++ = '\0';
                token++;
            }
            token->name = end;
            continue;
        }
        *end++ = (char)(text[i] != '~' ? text[i] : text[++i] == '0' ? '~' : '/');
        token->len++;
    }
    *ret = p;
    return 0;
}

void pointer_done(struct pointer *p) {
    free(p->tokens);
    free(p->storage);
    *p = (struct pointer){0};
}

bool pointer_index(const struct pointer_token *token, size_t *ret) {
    if (token->len == 0 || token->len > 10 || (token->name[0] == '0' && token->len > 1))
        return false;
    uint64_t index = 0;
    for (size_t i = 0; i < token->len; i++) {
        if (token->name[i] < '0' || token->name[i] > '9')
            return false;
        index = index * 10 + (uint64_t)(token->name[i] - '0');
    }
    if (index > INDEX_MAX)
        return false;
    *ret = index;
    return true;
}

json_t *pointer_find(json_t *document, const struct pointer *p, size_t n_tokens) {
    json_t *at = document;
    for (size_t i = 0; at && i < n_tokens && i < p->n_tokens; i++) {
        const struct pointer_token *token = &p->tokens[i];
        size_t index;
        if (json_is_object(at))
            at = json_object_getn(at, token->name, token->len);
        else if (json_is_array(at) && pointer_index(token, &index))
            at = json_array_get(at, index);
        else
            at = NULL;
    }
    return at;
}

static bool starts_alike(const struct pointer *a, const struct pointer *b, size_t n_tokens) {
    for (size_t i = 0; i < n_tokens; i++) {
        const struct pointer_token *x = &a->tokens[i], *y = &b->tokens[i];
        if (x->len != y->len || memcmp(x->name, y->name, x->len) != 0)
            return false;
    }
    return true;
}

bool pointer_is_above(const struct pointer *a, const struct pointer *b) {
    return a->n_tokens < b->n_tokens && starts_alike(a, b, a->n_tokens);
}
