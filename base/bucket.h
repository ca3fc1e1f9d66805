/* A token bucket: `rate` tokens a second flow in, and it holds `burst`; who takes from it is
 * bounded on average by the rate and at once by the burst. Pure: the moment comes with the call. */
#pragma once

#include <stdint.h>

struct bucket {
    int64_t rate;    /* tokens a second; 0: no bound */
    int64_t burst;   /* tokens */
    int64_t balance; /* thousandths of tokens; below 0 after a take of more than the burst */
    int64_t at;      /* ms: when balance was right */
};

/* Full. rate at most 2^40, burst at most 2^43; now: ms of any clock that does not go back. */
void bucket_init(struct bucket *b, int64_t rate, int64_t burst, int64_t now);
/* Takes n tokens: 0. Or takes nothing, and answers after how many ms they will be there. More than
 * the burst is given once the bucket is full; what follows then waits all the longer. */
int64_t bucket_take(struct bucket *b, int64_t n, int64_t now);
