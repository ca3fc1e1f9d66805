/* Commands in Redis' protocol. hiredis' Argv form wants all words at once and alive; here they are
 * copied as they come (always with their length), and the same bytes can be queued a second time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store_private.h"

void store_command_done(struct store_command *c) {
    buf_done(&c->words);
    *c = (struct store_command){0};
}

void store_command_begin(struct store_command *c, const char *name) {
    buf_clear(&c->words);
    c->n_words = c->n_bytes = c->key_len = 0;
    store_puts(c, name);
}

void store_put(struct store_command *c, const void *data, size_t len) {
    buf_putc(&c->words, '$');
    buf_put_u64(&c->words, len);
    buf_put(&c->words, "\r\n", 2);
    buf_put(&c->words, data, len);
    buf_put(&c->words, "\r\n", 2);
    c->n_words++;
    c->n_bytes += len;
}

void store_put_words(struct store_command *c, const struct store_command *words) {
    buf_put(&c->words, words->words.data, words->words.len);
    c->n_words += words->n_words;
    c->n_bytes += words->n_bytes;
}

void store_puts(struct store_command *c, const char *text) {
    store_put(c, text, strlen(text));
}

void store_put_u64(struct store_command *c, uint64_t n) {
    char digits[24];
    store_put(c, digits, (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n));
}

void store_put_i64(struct store_command *c, int64_t n) {
    char digits[24];
    store_put(c, digits, (size_t)snprintf(digits, sizeof(digits), "%" PRId64, n));
}

void store_put_name(struct store_command *c, const char *key) {
    size_t len = strlen(key);
    store_put(c, key, len);
    if (c->key_len)
        return;
    c->key_at = c->words.len - len - 2;
    c->key_len = len;
}

void store_put_key(struct store_command *c, enum store_key key, const char *session_id) {
    char name[STORE_KEY_CAP];
    store_key(key, session_id, name);
    store_put_name(c, name);
}

int store_command_slot(const struct store_command *c) {
    return c->key_len ? (int)store_slot_of(c->words.data + c->key_at, c->key_len) : -1;
}

void store_put_entry_after(struct store_command *c, uint64_t since) {
    char id[32];
    uint64_t first = since == UINT64_MAX ? UINT64_MAX : since + 1;
    store_put(c, id, (size_t)snprintf(id, sizeof(id), "%" PRIu64 "-0", first));
}

void store_begin_read(struct store_command *c, const char *session_id, bool state, bool deltas,
                      uint64_t since) {
    static const char *const flags[2][2] = {{"", "d"}, {"s", "sd"}};
    store_command_begin(c, "EVAL");
    store_puts(c, store_script_text(STORE_SCRIPT_READ));
    store_puts(c, "4");
    store_put_key(c, STORE_META, session_id);
    store_put_key(c, STORE_STATE, session_id);
    store_put_key(c, STORE_DELTAS, session_id);
    store_put_key(c, STORE_IDEM, session_id);
    store_puts(c, flags[state][deltas]);
    store_put_entry_after(c, since);
}

void store_begin_auth(struct store_command *c, const struct store_url *url) {
    store_command_begin(c, "AUTH");
    if (*url->user)
        store_puts(c, url->user);
    store_puts(c, url->password);
}

void store_begin_select(struct store_command *c, const struct store_url *url) {
    store_command_begin(c, "SELECT");
    store_put_i64(c, url->db);
}

size_t store_queue_login(struct store_command *c, const struct store_url *url,
                         redisContext *context) {
    size_t n_queued = 0;
    if (*url->password) {
        store_begin_auth(c, url);
        store_queue(context, c);
        n_queued++;
    }
    if (url->db) {
        store_begin_select(c, url);
        store_queue(context, c);
        n_queued++;
    }
    return n_queued;
}

/* hiredis refuses only when memory ran out; must_alloc's way out is taken then too. */
void store_queue_bytes(redisContext *context, const char *data, size_t len) {
    if (redisAppendFormattedCommand(context, data, len) != REDIS_OK)
        abort();
}

void store_queue(redisContext *context, const struct store_command *c) {
    char head[24];
    int len = snprintf(head, sizeof(head), "*%zu\r\n", c->n_words);
    store_queue_bytes(context, head, (size_t)len);
    store_queue_bytes(context, c->words.data, c->words.len);
}

void store_command_print(const struct store_command *c, struct buf *out) {
    buf_putc(out, '*');
    buf_put_u64(out, c->n_words);
    buf_put(out, "\r\n", 2);
    buf_put(out, c->words.data, c->words.len);
}
