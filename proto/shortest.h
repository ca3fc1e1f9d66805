/* The shortest decimal digits that read back as the same double. */
#pragma once

#include <stdint.h>

/* digits * 10^exponent, closest to the number among the shortest; digits has no trailing zero. */
struct shortest {
    uint64_t digits;
    int exponent;
};

/* number must be finite and above 0. */
struct shortest shortest_digits(double number);
