/* The token, and the device that it may say. It is not verified here: the services do. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base64url.h"
#include "base/buf.h"
#include "cli/bench_private.h"
#include "common/config_file.h"
#include "proto/text.h"

/* Its claim device_id; NULL: none. */
static char *read_device(const char *token) {
    const char *begin = strchr(token, '.'), *end = begin ? strchr(begin + 1, '.') : NULL;
    const char *device = NULL;
    json_auto_t *claims = NULL;
    if (!end)
        return NULL;
    size_t len = (size_t)(end - begin - 1);
    _cleanup_(freep) char *text = must_alloc(len + 1);
    ssize_t text_len = base64url_decode(begin + 1, len, text);
    if (text_len < 0 || text_parse(text, (size_t)text_len, &claims, NULL) ||
        text_get_string(claims, "device_id", TEXT_OPTIONAL, &device, NULL))
        return NULL;
    return device ? must_strdup(device) : NULL;
}

int bench_read_token(struct bench *b) {
    int r = config_file_read(b->orders.token_file, &b->token);
    if (r < 0) {
        fprintf(stderr, "handoff: %s: %s\n", b->orders.token_file, strerror(-r));
        return -1;
    }
    char *begin = b->token + strspn(b->token, " \t\r\n");
    memmove(b->token, begin, strlen(begin) + 1);
    b->token[strcspn(b->token, " \t\r\n")] = '\0';
    if (strpbrk(b->token, "\r\n") || !*b->token) {
        fprintf(stderr, "handoff: %s has no token\n", b->orders.token_file);
        return -1;
    }
    b->device = read_device(b->token);
    return 0;
}
