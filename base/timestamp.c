/* Moments; see timestamp.h. */
#include "base/timestamp.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define FIRST_MS (-62167219200000LL) /* 0000-01-01T00:00:00.000Z */
#define LAST_MS 253402300799999LL    /* 9999-12-31T23:59:59.999Z */

void timestamp_print(int64_t unix_ms, char ret[static TIMESTAMP_LEN + 1]) {
    unix_ms = unix_ms < FIRST_MS ? FIRST_MS : unix_ms > LAST_MS ? LAST_MS : unix_ms;
    int64_t ms = ((unix_ms % 1000) + 1000) % 1000;
    time_t seconds = (time_t)((unix_ms - ms) / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    char text[80];
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", t.tm_year + 1900,
             t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)ms);
    memcpy(ret, text, TIMESTAMP_LEN);
    ret[TIMESTAMP_LEN] = '\0';
}

bool timestamp_parse(const char *text, size_t len, int64_t *ret_unix_ms) {
    static const char shape[] = "0000-00-00T00:00:00.000Z";
    if (len != TIMESTAMP_LEN)
        return false;
    for (size_t i = 0; i < TIMESTAMP_LEN; i++)
        if (shape[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
            return false;
    char copy[TIMESTAMP_LEN + 1], again[TIMESTAMP_LEN + 1];
    memcpy(copy, text, TIMESTAMP_LEN);
    copy[TIMESTAMP_LEN] = '\0';
    struct tm t = {0};
    int ms;
    if (sscanf(copy, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour,
               &t.tm_min, &t.tm_sec, &ms) != 7)
        return false;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    int64_t unix_ms = (int64_t)timegm(&t) * 1000 + ms;
    timestamp_print(unix_ms, again); /* refuses what does not exist, such as the 31st of February */
    if (strcmp(copy, again) != 0)
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
