/* A store in files: one for each session, of lines that are only added; each is durable before the
 * call returns. What was taken out is left out when the file is opened again, or is mostly that.
 *
 *     {"key":"…","stored":{…}}    put
 *     {"key":"…"}                 taken out
 *
 * A last line that was cut off (the machine died) is no line. The file is locked while this process
 * has it: two that sent the same commands would both think that they are the one that is answered.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "clients/c/src/problem.h"
#include "proto/text.h"

#define MAX_FILE_BYTES (64u << 20)
#define MANY_BYTES (1u << 20) /* from then on what is taken out is worth leaving out */

struct entry {
    struct entry *next;
    char *key, *text; /* owned */
};

struct log {
    struct log *next;
    char session_id[UUID_LEN + 1];
    int fd;
    off_t n_bytes, n_live; /* of the file; of the lines that count */
    struct entry *entries; /* in order */
};

struct file_store {
    struct handoff_store calls; /* first: it is what the caller has */
    char *folder;
    struct log *logs;
};

/* ---- entries ---- */

static void free_entry(struct entry *e) {
    free(e->key);
    free(e->text);
    free(e);
}

static struct entry **find(struct log *log, const char *key) {
    struct entry **at = &log->entries;
    while (*at && strcmp((*at)->key, key) != 0)
        at = &(*at)->next;
    return at;
}

static void set_entry(struct log *log, const char *key, const char *text) {
    struct entry **at = find(log, key);
    struct entry *e = *at;
    if (!e) {
        e = must_alloc(sizeof(*e));
        e->key = must_strdup(key);
        *at = e;
    } else {
        log->n_live -= (off_t)strlen(e->text);
        free(e->text);
    }
    e->text = must_strdup(text);
    log->n_live += (off_t)strlen(text);
}

static void drop_entry(struct log *log, const char *key) {
    struct entry **at = find(log, key), *e = *at;
    if (!e)
        return;
    *at = e->next;
    log->n_live -= (off_t)strlen(e->text);
    free_entry(e);
}

/* ---- lines ---- */

static void print_line(const char *key, const char *text, struct buf *out) {
    buf_puts(out, "{\"key\":");
    buf_puts_json(out, key);
    if (text)
        buf_printf(out, ",\"stored\":%s", text);
    buf_puts(out, "}\n");
}

static void read_line(struct log *log, const char *line, size_t len) {
    json_auto_t *value = NULL;
    if (text_parse(line, len, &value, NULL) != 0)
        return;
    const char *key = frame_string(value, "key");
    _cleanup_(freep) char *text = text_of(json_object_get(value, "stored"));
    if (key && text)
        set_entry(log, key, text);
    else if (key)
        drop_entry(log, key);
}

static int write_all(int fd, const char *bytes, size_t len) {
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno != EINTR)
            return -errno;
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* All lines anew, in the file that is open: it stays locked. The new ones are durable beside it
 * first. */
static int rewrite(const struct file_store *store, struct log *log) {
    _cleanup_(buf_done) struct buf lines = BUF_NULL, path = BUF_NULL;
    for (const struct entry *e = log->entries; e; e = e->next)
        print_line(e->key, e->text, &lines);
    if ((size_t)log->n_bytes == lines.len)
        return 0;
    buf_printf(&path, "%s/%s.new", store->folder, log->session_id);
    int fd = open(path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = lines.len ? write_all(fd, lines.data, lines.len) : 0;
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
        r = -errno;
    _cleanup_(buf_done) struct buf final = BUF_NULL;
    buf_printf(&final, "%s/%s.log", store->folder, log->session_id);
    if (r == 0 && rename(path.data, final.data) < 0)
        r = -errno;
    if (r != 0) {
        close(fd);
        unlink(path.data);
        return r;
    }
    close(log->fd);
    log->fd = fd;
    log->n_bytes = (off_t)lines.len;
    return 0;
}

static int append(const struct file_store *store, struct log *log, const char *key,
                  const char *text) {
    _cleanup_(buf_done) struct buf line = BUF_NULL;
    print_line(key, text, &line);
    int r = write_all(log->fd, line.data, line.len);
    if (r == 0 && text && fdatasync(log->fd) < 0)
        r = -errno;
    if (r != 0) {
        /* Half a line would spoil the next one. */
        if (ftruncate(log->fd, log->n_bytes) == 0)
            lseek(log->fd, log->n_bytes, SEEK_SET);
        return r;
    }
    log->n_bytes += (off_t)line.len;
    return log->n_bytes > (off_t)MANY_BYTES && log->n_bytes / 4 > log->n_live ? rewrite(store, log)
                                                                              : 0;
}

/* ---- files ---- */

static void free_log(struct log *log) {
    while (log->entries) {
        struct entry *e = log->entries;
        log->entries = e->next;
        free_entry(e);
    }
    if (log->fd >= 0)
        close(log->fd);
    free(log);
}

static int read_log(struct log *log) {
    struct stat about;
    if (fstat(log->fd, &about) < 0)
        return -errno;
    if (about.st_size > (off_t)MAX_FILE_BYTES)
        return -EFBIG;
    size_t len = 0, size = (size_t)about.st_size;
    _cleanup_(freep) char *bytes = must_malloc(size + 1);
    for (ssize_t n; len < size; len += (size_t)n) {
        n = read(log->fd, bytes + len, size - len);
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
    }
    const char *at = bytes, *end = bytes + len;
    for (const char *next; at < end && (next = memchr(at, '\n', (size_t)(end - at))); at = next + 1)
        read_line(log, at, (size_t)(next - at));
    log->n_bytes = (off_t)len;
    return 0;
}

/* Its last owner may have put another file in its place, just before it let go of this one. */
static int lock(const struct log *log, const char *path) {
    struct stat mine, there;
    if (flock(log->fd, LOCK_EX | LOCK_NB) < 0 || fstat(log->fd, &mine) < 0 ||
        stat(path, &there) < 0)
        return -errno;
    return mine.st_ino == there.st_ino ? 0 : -EWOULDBLOCK;
}

static int open_log(const struct file_store *store, const char *session_id, struct log **ret) {
    _cleanup_(buf_done) struct buf path = BUF_NULL;
    buf_printf(&path, "%s/%s.log", store->folder, session_id);
    struct log *log = must_alloc(sizeof(*log));
    memcpy(log->session_id, session_id, UUID_LEN + 1);
    log->fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int r = log->fd < 0 ? -errno : 0;
    if (r == 0)
        r = lock(log, path.data);
    if (r == 0)
        r = read_log(log);
    if (r == 0)
        r = rewrite(store, log);
    if (r != 0)
        free_log(log);
    else
        *ret = log;
    return r;
}

static int find_log(struct file_store *store, const char *session_id, struct log **ret) {
    struct log *log = store->logs;
    if (!uuid_is(session_id, strlen(session_id)))
        return -EINVAL;
    while (log && strcmp(log->session_id, session_id) != 0)
        log = log->next;
    int r = 0;
    if (!log && (r = open_log(store, session_id, &log)) == 0) {
        log->next = store->logs;
        store->logs = log;
    }
    *ret = log;
    return r;
}

/* ---- as a store ---- */

static int load(void *user, const char *session_id,
                void (*each)(void *arg, const char *key, const char *text), void *arg) {
    struct log *log;
    int r = find_log(user, session_id, &log);
    if (r < 0)
        return r;
    for (const struct entry *e = log->entries; e; e = e->next)
        each(arg, e->key, e->text);
    return 0;
}

static int put(void *user, const char *session_id, const char *key, const char *text) {
    struct log *log;
    int r = find_log(user, session_id, &log);
    if (r < 0)
        return r;
    set_entry(log, key, text);
    return append(user, log, key, text);
}

/* Not durable at once: what comes back because of that is answered as done by its key. */
static int take_away(void *user, const char *session_id, const char *key) {
    struct log *log;
    int r = find_log(user, session_id, &log);
    if (r < 0)
        return r;
    drop_entry(log, key);
    return append(user, log, key, NULL);
}

struct handoff_store *handoff_file_store_new(const char *folder) {
    struct stat about;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return NULL;
    if (stat(folder, &about) < 0)
        return NULL;
    if (!S_ISDIR(about.st_mode)) {
        errno = ENOTDIR;
        return NULL;
    }
    struct file_store *store = must_alloc(sizeof(*store));
    store->folder = must_strdup(folder);
    store->calls = (struct handoff_store){store, load, put, take_away};
    return &store->calls;
}

void handoff_file_store_free(struct handoff_store *calls) {
    struct file_store *store = calls ? calls->user : NULL;
    if (!store)
        return;
    while (store->logs) {
        struct log *log = store->logs;
        store->logs = log->next;
        free_log(log);
    }
    free(store->folder);
    free(store);
}
