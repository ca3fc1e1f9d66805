/* Moments; see timestamp.h. Arithmetic instead of gmtime and printf: each answer and each event
 * prints several, and with those they were a tenth of the engine's time. */
#include "base/timestamp.h"

#include <string.h>
#include <time.h>

#define FIRST_MS (-62167219200000LL) /* 0000-01-01T00:00:00.000Z */
#define LAST_MS 253402300799999LL    /* 9999-12-31T23:59:59.999Z */

static const char shape[] = "0000-00-00T00:00:00.000Z";

#define DAY_MS INT64_C(86400000)

static void put_digits(char *at, int n, unsigned value) {
    for (int i = n; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
}

static unsigned digits(const char *at, int n) {
    unsigned value = 0;
    for (int i = 0; i < n; i++)
        value = value * 10 + (unsigned)(at[i] - '0');
    return value;
}

/* Days since 1970-01-01 of a day of the proleptic Gregorian calendar, and back: H. Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms". A year begins in March there, an era has 400. */
static int64_t days_of(int64_t year, unsigned month, unsigned day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned month_of_year = month > 2 ? month - 3 : month + 9;
    unsigned day_of_year = (153 * month_of_year + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

static void date_of(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_of_year = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * month_of_year + 2) / 5 + 1;
    *ret_month = month_of_year < 10 ? month_of_year + 3 : month_of_year - 9;
    *ret_year = (int64_t)year_of_era + era * 400 + (*ret_month <= 2);
}

void timestamp_print(int64_t unix_ms, char ret[static TIMESTAMP_LEN + 1]) {
    unix_ms = unix_ms < FIRST_MS ? FIRST_MS : unix_ms > LAST_MS ? LAST_MS : unix_ms;
    unsigned ms = (unsigned)((unix_ms % DAY_MS + DAY_MS) % DAY_MS);
    int64_t year;
    unsigned month, day;
    date_of((unix_ms - ms) / DAY_MS, &year, &month, &day);
    memcpy(ret, shape, sizeof(shape));
    put_digits(ret, 4, (unsigned)year);
    put_digits(ret + 5, 2, month);
    put_digits(ret + 8, 2, day);
    put_digits(ret + 11, 2, ms / 3600000);
    put_digits(ret + 14, 2, ms / 60000 % 60);
    put_digits(ret + 17, 2, ms / 1000 % 60);
    put_digits(ret + 20, 3, ms % 1000);
}

bool timestamp_parse(const char *text, size_t len, int64_t *ret_unix_ms) {
    if (len != TIMESTAMP_LEN)
        return false;
    for (size_t i = 0; i < TIMESTAMP_LEN; i++)
        if (shape[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
            return false;
    int64_t unix_ms = days_of(digits(text, 4), digits(text + 5, 2), digits(text + 8, 2)) * DAY_MS +
                      digits(text + 11, 2) * INT64_C(3600000) +
                      digits(text + 14, 2) * INT64_C(60000) + digits(text + 17, 2) * INT64_C(1000) +
                      digits(text + 20, 3);
    char again[TIMESTAMP_LEN + 1];
    timestamp_print(unix_ms, again); /* refuses what does not exist, such as the 31st of February */
    if (memcmp(text, again, TIMESTAMP_LEN) != 0)
        return false;
    *ret_unix_ms = unix_ms;
    return true;
}

static int64_t read_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t timestamp_wall_ms(void) {
    return read_ms(CLOCK_REALTIME);
}

int64_t timestamp_monotonic_ms(void) {
    return read_ms(CLOCK_MONOTONIC);
}
