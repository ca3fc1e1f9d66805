/* Log records on stderr: a JSON line each, or readable text on a terminal. Contract section 8. A
 * record that cannot be written at once is dropped and counted; the loop never waits for its log.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* One more member of a record. A text is escaped, and cut at 512 bytes. */
struct log_field {
    const char *name; /* NULL ends the list; "": left out */
    const char *text; /* NULL: number counts */
    int64_t number;
};

#define LOG_TEXT(field_name, value) ((struct log_field){(field_name), (value), 0})
#define LOG_NUMBER(field_name, value) ((struct log_field){(field_name), NULL, (value)})

/* Left out where there is none: NULL, or "". */
static inline struct log_field log_known(const char *name, const char *text) {
    return (struct log_field){text && *text ? name : "", text, 0};
}
#define LOG_KNOWN(field_name, value) log_known((field_name), (value))

struct log;

/* format: "auto" (text on a terminal, else JSON), "json", "text". service and instance are
 * borrowed. */
struct log *log_new(const char *service, const char *instance, enum log_level least,
                    const char *format);
struct log *log_free(struct log *log);
void log_set_least(struct log *log, enum log_level least);
uint64_t log_n_dropped(const struct log *log);
bool log_level_parse(const char *name, enum log_level *ret);

/* event: a fixed name, such as "broker_lost"; msg: a fixed sentence; fields ends with a NULL name.
 */
void log_write(struct log *log, enum log_level level, const char *event, const char *msg,
               const struct log_field *fields);

#define LOG_END ((struct log_field){NULL, NULL, 0})
#define LOG_WRITE(log, level, event, msg, ...)                                                     \
    log_write(log, level, event, msg, (const struct log_field[]){__VA_ARGS__})

/* log_info(log, event, msg, fields…): with any number of LOG_TEXT and LOG_NUMBER. */
#define log_debug(log, event, ...) LOG_WRITE(log, LOG_LEVEL_DEBUG, event, __VA_ARGS__, LOG_END)
#define log_info(log, event, ...) LOG_WRITE(log, LOG_LEVEL_INFO, event, __VA_ARGS__, LOG_END)
#define log_warn(log, event, ...) LOG_WRITE(log, LOG_LEVEL_WARN, event, __VA_ARGS__, LOG_END)
#define log_error(log, event, ...) LOG_WRITE(log, LOG_LEVEL_ERROR, event, __VA_ARGS__, LOG_END)
