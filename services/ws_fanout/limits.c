/* A connection's limits; see limits.h. */
#include "services/ws_fanout/limits.h"

void limits_init(struct limits *l, int64_t messages, int64_t bytes, int64_t now) {
    *l = (struct limits){0};
    bucket_init(&l->messages, messages, messages * LIMITS_BURST_SECONDS, now);
    bucket_init(&l->bytes, bytes, bytes * LIMITS_BURST_SECONDS, now);
    bucket_init(&l->broadcasts, LIMITS_BROADCASTS, LIMITS_BROADCASTS, now);
}

bool limits_refuse(struct limits *l, int64_t now) {
    if (now - l->refused_at >= LIMITS_PAUSE_MS)
        l->n_refused = 0;
    l->refused_at = now;
    return ++l->n_refused >= LIMITS_MAX_REFUSED;
}
