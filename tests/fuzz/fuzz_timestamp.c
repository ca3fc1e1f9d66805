/* Moments: what is taken prints as the same text and is what the C library makes of it; every
 * number prints as a text that is taken. What a query may say is as it says, whatever its offset.
 */
#include <stdio.h>
#include <time.h>

#include "base/timestamp.h"
#include "fuzz_json.h"
#include "proto/reader.h"
#include "services/session_api/parameters.h"

#define LAST_MS INT64_C(253402300799999)
#define FIRST_MS INT64_C(-62167219200000)

static int64_t parse_slowly(const char *text) {
    struct tm tm = {0};
    int ms = 0, n = sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &tm.tm_year, &tm.tm_mon,
                           &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms);
    must_hold(n == 7);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return (int64_t)timegm(&tm) * 1000 + ms;
}

static void check_text(const char *text, size_t len) {
    int64_t moment, read;
    char again[TIMESTAMP_LEN + 1];
    struct reader r = {text, len};
    bool is_read = reader_moment(&r, &read);
    if (timestamp_parse(text, len, &moment)) {
        timestamp_print(moment, again);
        must_hold(memcmp(again, text, len) == 0 && parse_slowly(again) == moment);
        must_hold(is_read && read == moment && r.left == 0);
        must_hold(parameters_parse_moment(again, &read) && read == moment);
    }
    must_hold(!is_read || timestamp_parse(text, TIMESTAMP_LEN, &moment));
}

static void check_number(const uint8_t *data) {
    int64_t number, again;
    char text[TIMESTAMP_LEN + 1];
    memcpy(&number, data, sizeof(number));
    timestamp_print(number, text);
    must_hold(timestamp_parse(text, strlen(text), &again));
    int64_t clamped = number < FIRST_MS ? FIRST_MS : number > LAST_MS ? LAST_MS : number;
    must_hold(again == clamped);
}

/* Of a moment with an offset the same one an hour on is an hour later. */
static void check_parameter(const char *text) {
    int64_t moment, plain;
    if (!parameters_parse_moment(text, &moment))
        return;
    size_t len = strlen(text);
    char last = text[len - 1];
    bool is_utc = last == 'Z' || last == 'z';
    char *other = must_alloc(len + 8);
    memcpy(other, text, is_utc ? len - 1 : len - 6);
    strcat(other, "Z");
    must_hold(parameters_parse_moment(other, &plain));
    int64_t apart = plain - moment, day = INT64_C(86400000);
    must_hold(is_utc ? apart == 0 : apart > -day && apart < day && apart % 60000 == 0);
    free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size);
    check_text(text, size);
    check_parameter(text);
    if (size >= sizeof(int64_t))
        check_number(data);
    free(text);
    return 0;
}
