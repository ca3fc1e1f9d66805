/* Random bytes; see random.h. The kernel is asked for many at once: a call costs more than what it
 * brings. A thread has its own. Bytes that were given are not kept. */
#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct random_pool {
    uint8_t bytes[2048];
    size_t n_left;
};

static void random_fill(struct random_pool *pool) {
    size_t n = 0;
    while (n < sizeof(pool->bytes)) {
        ssize_t more = getrandom(pool->bytes + n, sizeof(pool->bytes) - n, 0);
        if (more < 0 && errno != EINTR)
            abort(); /* no kernel of ours is without it: getrandom(2) */
        n += more > 0 ? (size_t)more : 0;
    }
    pool->n_left = n;
}

void random_bytes(uint8_t *ret, size_t len) {
    static _Thread_local struct random_pool pool;
    if (pool.n_left < len)
        random_fill(&pool);
    pool.n_left -= len;
    memcpy(ret, pool.bytes + pool.n_left, len);
    memset(pool.bytes + pool.n_left, 0, len);
}
