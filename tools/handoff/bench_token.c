/* The token, and the device that it may say. It is not verified here: the services do. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/config_file.h"
#include "proto/claim.h"
#include "proto/session.h"
#include "tools/handoff/bench_private.h"

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
    char device[SESSION_DEVICE_MAX + 1];
    if (claim_device(b->token, sizeof(device), device))
        b->device = must_strdup(device);
    return 0;
}
