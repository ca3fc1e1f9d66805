/* Shortest digits by Raffaello Giulietti's Schubfach ("The Schubfach way to render doubles", 2021):
 * a few 128-bit multiplications with a table, no trial and error and no locale. Speed is why it is
 * here: a document of 512 KiB may hold 25 000 numbers of 17 digits, which printf and strtod take 1
 * us each to find, and a change may measure ten times as many. */
#include "proto/shortest.h"

#include <stdbool.h>
#include <string.h>

#include "proto/shortest_powers.h"

#define FRACTION_BITS 52
#define HIDDEN_BIT (UINT64_C(1) << FRACTION_BITS)
#define EXPONENT_BIAS 1075 /* of the significand read as an integer */

__extension__ typedef unsigned __int128 wide;

/* floor(log10(2^q)), or of 3/4 * 2^q where the interval below is half as wide. Right shifts of
 * negative numbers are arithmetic with gcc and clang. */
static int floor_log10_pow2(int q, bool three_quarters) {
    return (q * 1262611 - (three_quarters ? 524031 : 0)) >> 22;
}

static int floor_log2_pow10(int k) {
    return (k * 1741647) >> 19;
}

/* The upper 64 bits of power * c / 2^64, whose last bit says whether anything was cut off (paper,
 * section 9.9): enough to compare with the interval's borders as if it were exact. */
static uint64_t multiply_to_odd(const uint64_t power[2], uint64_t c) {
    wide low = (wide)power[1] * c;
    wide sum = (wide)power[0] * c + (uint64_t)(low >> 64);
    return (uint64_t)(sum >> 64) | ((uint64_t)sum > 1);
}

static struct shortest without_zeros(uint64_t digits, int exponent) {
    while (digits % 10 == 0) {
        digits /= 10;
        exponent++;
    }
    return (struct shortest){.digits = digits, .exponent = exponent};
}

struct shortest shortest_digits(double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    uint64_t fraction = bits & (HIDDEN_BIT - 1);
    int biased = (int)(bits >> FRACTION_BITS & 0x7ff);
    uint64_t c = biased ? fraction | HIDDEN_BIT : fraction;
    int q = (biased ? biased : 1) - EXPONENT_BIAS;
    bool closer_below = fraction == 0 && biased > 1;

    int k = floor_log10_pow2(q, closer_below);
    int shift = q + floor_log2_pow10(-k) + 1;
    const uint64_t *power = shortest_powers[-k - SHORTEST_POWERS_LEAST];
    /* Four times the number and its interval's borders, in units of 10^k. */
    uint64_t below = multiply_to_odd(power, (4 * c - 2 + closer_below) << shift);
    uint64_t exact = multiply_to_odd(power, 4 * c << shift);
    uint64_t above = multiply_to_odd(power, (4 * c + 2) << shift);
    /* The borders themselves read back as this number when its significand is even. */
    uint64_t least = below + (c & 1);
    uint64_t most = above - (c & 1);

    uint64_t s = exact / 4;
    if (s >= 10) {
        uint64_t tens = s / 10;
        bool down = least <= 40 * tens;
        bool up = 40 * tens + 40 <= most;
        if (down != up)
            return without_zeros(tens + up, k + 1);
    }
    bool down = least <= 4 * s;
    bool up = 4 * s + 4 <= most;
    if (down != up)
        return without_zeros(s + up, k);
    uint64_t middle = 4 * s + 2;
    bool round_up = exact > middle || (exact == middle && (s & 1));
    return without_zeros(s + round_up, k);
}
