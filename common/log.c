/* Log records; see log.h. A record is one write of at most PIPE_BUF bytes to a descriptor that does
 * not block, so records of several processes in one pipe stay whole and a reader that stands still
 * stops nobody. */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "common/clean.h"

#define VALUE_MAX 512

struct log {
    const char *service;  /* borrowed */
    const char *instance; /* borrowed */
    enum log_level least;
    bool as_text;
    int fd;
    bool owns_fd;
    bool is_socket;
    bool torn; /* the last record was written in part: a new line comes first */
    uint64_t n_dropped;
    struct buf record;
    struct buf value; /* scratch */
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

bool log_level_parse(const char *name, enum log_level *ret) {
    for (size_t i = 0; i < N_ELEMENTS(level_names); i++)
        if (strcmp(name, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    return false;
}

/* O_NONBLOCK on stderr itself would change it for every process that shares it. A pipe can be
 * opened anew through /proc, which gives flags of its own. */
static void open_output(struct log *log) {
    struct stat status;
    log->fd = STDERR_FILENO;
    if (fstat(STDERR_FILENO, &status) < 0)
        return;
    log->is_socket = S_ISSOCK(status.st_mode);
    if (!S_ISFIFO(status.st_mode))
        return;
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    log->fd = fd;
    log->owns_fd = true;
}

struct log *log_new(const char *service, const char *instance, enum log_level least,
                    const char *format) {
    struct log *log = must_alloc(sizeof(*log));
    log->service = service;
    log->instance = instance;
    log->least = least;
    log->as_text =
        strcmp(format, "text") == 0 || (strcmp(format, "auto") == 0 && isatty(STDERR_FILENO));
    open_output(log);
    return log;
}

void log_set_least(struct log *log, enum log_level least) {
    log->least = least;
}

struct log *log_free(struct log *log) {
    if (!log)
        return NULL;
    if (log->owns_fd)
        close(log->fd);
    buf_done(&log->record);
    buf_done(&log->value);
    free(log);
    return NULL;
}

uint64_t log_n_dropped(const struct log *log) {
    return log->n_dropped;
}

static void put_value(struct log *log, const char *text) {
    buf_clear(&log->value);
    clean_put(&log->value, text, strnlen(text, 4 * VALUE_MAX), VALUE_MAX);
    buf_put_json(&log->record, log->value.data ? log->value.data : "", log->value.len);
}

static void put_member(struct log *log, const char *name, const char *text) {
    buf_putc(&log->record, log->record.len ? ',' : '{');
    buf_puts_json(&log->record, name);
    buf_putc(&log->record, ':');
    put_value(log, text);
}

static void put_json_field(struct log *log, const struct log_field *field) {
    if (field->text) {
        put_member(log, field->name, field->text);
        return;
    }
    buf_putc(&log->record, ',');
    buf_puts_json(&log->record, field->name);
    buf_putc(&log->record, ':');
    buf_put_i64(&log->record, field->number);
}

static void put_text_field(struct log *log, const struct log_field *field) {
    buf_printf(&log->record, " %s=", field->name);
    if (field->text)
        put_value(log, field->text);
    else
        buf_put_i64(&log->record, field->number);
}

static void put_start(struct log *log, enum log_level level, const char *event, const char *msg) {
    char now[TIMESTAMP_LEN + 1];
    timestamp_print(timestamp_wall_ms(), now);
    if (log->as_text) {
        buf_printf(&log->record, "%.12s %-5s %s %s: ", now + 11, level_names[level], log->service,
                   event);
        buf_puts(&log->record, msg);
        return;
    }
    put_member(log, "ts", now);
    put_member(log, "level", level_names[level]);
    put_member(log, "service", log->service);
    put_member(log, "instance", log->instance);
    put_member(log, "event", event);
    put_member(log, "msg", msg);
}

/* A field that would make the record longer than one write can be is left out, and the record says
 * so. */
static void put_fields(struct log *log, const struct log_field *fields) {
    const size_t most = PIPE_BUF - sizeof(",\"cut\":true}\n");
    bool cut = false;
    for (; fields->name; fields++) {
        size_t before = log->record.len;
        if (!*fields->name)
            continue;
        if (log->as_text)
            put_text_field(log, fields);
        else
            put_json_field(log, fields);
        if (log->record.len > most) {
            log->record.len = before;
            cut = true;
        }
    }
    if (cut)
        buf_puts(&log->record, log->as_text ? " cut=true" : ",\"cut\":true");
}

static bool is_ready(const struct log *log) {
    struct pollfd ready = {.fd = log->fd, .events = POLLOUT};
    return log->owns_fd || (poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT));
}

static void send_record(struct log *log) {
    ssize_t n = -1;
    if (log->is_socket)
        n = send(log->fd, log->record.data, log->record.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    else if (is_ready(log))
        n = write(log->fd, log->record.data, log->record.len);
    if (n == (ssize_t)log->record.len) {
        log->torn = false;
        return;
    }
    log->n_dropped++;
    log->torn = log->torn || n > 0;
}

void log_write(struct log *log, enum log_level level, const char *event, const char *msg,
               const struct log_field *fields) {
    if (level < log->least)
        return;
    int error = errno; /* callers log in the middle of their own error handling */
    buf_clear(&log->record);
    put_start(log, level, event, msg);
    put_fields(log, fields);
    buf_puts(&log->record, log->as_text ? "\n" : "}\n");
    if (log->torn) {
        buf_reserve(&log->record, 1);
        memmove(log->record.data + 1, log->record.data, log->record.len);
        log->record.data[0] = '\n';
        log->record.len++;
    }
    send_record(log);
    errno = error;
}
