/* How a dead letter is shown; see letter.h. What is in it may come from anybody, so that a terminal
 * gets printable text only. */
#include "tools/handoff/letter.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/base64url.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/timestamp.h"
#include "common/clean.h"
#include "proto/text.h"
#include "tools/handoff/shown.h"

#define NUMBER_MAX ((UINT64_C(1) << 53) - 1)

static void put_part(struct buf *whole, const char *part) {
    buf_puts(whole, part);
    buf_putc(whole, '\n');
}

void letter_id(const char *queue, const struct bus_message *m, char ret[static LETTER_ID_LEN + 1]) {
    _cleanup_(buf_done) struct buf whole = BUF_NULL;
    char hex[HASH_HEX_LEN + 1];
    put_part(&whole, queue);
    put_part(&whole, m->message_id);
    put_part(&whole, m->type);
    put_part(&whole, m->reason);
    buf_put_i64(&whole, m->timestamp_ms);
    buf_putc(&whole, '\n');
    buf_put(&whole, m->body, m->body_len);
    hash_sha256_hex(whole.data, whole.len, hex);
    snprintf(ret, LETTER_ID_LEN + 1, "%.*s", LETTER_ID_LEN, hex);
}

static void print_when(const struct bus_message *m, char ret[static TIMESTAMP_LEN + 1]) {
    if (m->timestamp_ms)
        timestamp_print(m->timestamp_ms, ret);
    else
        strcpy(ret, "-");
}

#define LINE "%-12s  %-17s  %-24s  %-19s  %8s  %-42s  %s\n"

void letter_print_head(FILE *out) {
    fprintf(out, LINE, "ID", "QUEUE", "WHEN", "TYPE", "BYTES", "MESSAGE ID", "REASON");
}

void letter_print_line(const char *queue, const struct bus_message *m, FILE *out) {
    char id[LETTER_ID_LEN + 1], when[TIMESTAMP_LEN + 1], bytes[24];
    _cleanup_(freep) char *type = shown_text(m->type);
    _cleanup_(freep) char *message_id = shown_text(m->message_id);
    _cleanup_(freep) char *reason = shown_text(m->reason);
    letter_id(queue, m, id);
    print_when(m, when);
    snprintf(bytes, sizeof(bytes), "%zu", m->body_len);
    fprintf(out, LINE, id, queue, when, type, bytes, message_id, reason);
}

/* Who wrote the letter may have put any: beyond 2^53 - 1 readers of JSON would take it for another
 * (RFC 8259, section 6). */
static void put_number(struct buf *out, const char *name, uint64_t number) {
    if (number <= NUMBER_MAX)
        buf_printf(out, ",\"%s\":%" PRIu64, name, number);
    else
        buf_printf(out, ",\"%s\":null", name);
}

static void put_member(struct buf *out, const char *name, const char *text) {
    _cleanup_(buf_done) struct buf valid = BUF_NULL;
    clean_put(&valid, text, strlen(text), SHOWN_MAX);
    buf_printf(out, ",\"%s\":", name);
    if (valid.len)
        buf_put_json(out, valid.data, valid.len);
    else
        buf_puts(out, "null");
}

/* What list and show have, without the brace at its end. */
static void put_members(const char *queue, const struct bus_message *m, struct buf *out) {
    char id[LETTER_ID_LEN + 1], when[TIMESTAMP_LEN + 1] = "";
    letter_id(queue, m, id);
    if (m->timestamp_ms)
        timestamp_print(m->timestamp_ms, when);
    buf_printf(out, "{\"id\":\"%s\",\"queue\":\"%s\"", id, queue);
    put_member(out, "when", when);
    put_member(out, "type", m->type);
    put_member(out, "messageId", m->message_id);
    put_member(out, "reason", m->reason);
    buf_printf(out, ",\"bytes\":%zu", m->body_len);
}

void letter_print_json(const char *queue, const struct bus_message *m, FILE *out) {
    _cleanup_(buf_done) struct buf line = BUF_NULL;
    put_members(queue, m, &line);
    buf_puts(&line, "}\n");
    fwrite(line.data, 1, line.len, out);
}

void letter_print_whole_json(const char *queue, const struct bus_message *m, FILE *out) {
    _cleanup_(buf_done) struct buf line = BUF_NULL;
    put_members(queue, m, &line);
    put_number(&line, "epoch", m->epoch);
    put_number(&line, "version", m->version);
    put_member(&line, "deviceId", m->device_id);
    put_member(&line, "commandId", m->command_id);
    put_member(&line, "keyHash", m->key_hash);
    put_member(&line, "fingerprint", m->fingerprint);
    bool is_text =
        text_is_utf8(m->body, m->body_len) && !(m->body_len && memchr(m->body, '\0', m->body_len));
    if (is_text) {
        buf_puts(&line, ",\"body\":");
        buf_put_json(&line, m->body, m->body_len);
    } else {
        buf_puts(&line, ",\"bodyBase64url\":\"");
        base64url_put(&line, m->body, m->body_len);
        buf_putc(&line, '"');
    }
    buf_puts(&line, "}\n");
    fwrite(line.data, 1, line.len, out);
}

static void print_header(FILE *out, const char *name, const char *text) {
    _cleanup_(freep) char *printable = shown_text(text);
    if (*text)
        fprintf(out, "%-12s %s\n", name, printable);
}

static void print_number(FILE *out, const char *name, uint64_t number) {
    if (number)
        fprintf(out, "%-12s %" PRIu64 "\n", name, number);
}

/* As it is, but for a terminal. */
static void print_body(const struct bus_message *m, FILE *out) {
    if (!isatty(fileno(out))) {
        fwrite(m->body, 1, m->body_len, out);
        return;
    }
    _cleanup_(buf_done) struct buf text = BUF_NULL;
    clean_put(&text, m->body, m->body_len, m->body_len);
    for (size_t i = 0; i < text.len; i++)
        fputc((unsigned char)text.data[i] < ' ' && text.data[i] != '\n' ? ' ' : text.data[i], out);
}

void letter_print_whole(const char *queue, const struct bus_message *m, FILE *out) {
    char id[LETTER_ID_LEN + 1], when[TIMESTAMP_LEN + 1];
    letter_id(queue, m, id);
    print_when(m, when);
    print_header(out, "id", id);
    print_header(out, "queue", queue);
    print_header(out, "when", when);
    print_header(out, "reason", m->reason);
    print_header(out, "type", m->type);
    print_header(out, "message id", m->message_id);
    print_number(out, "epoch", m->epoch);
    print_number(out, "version", m->version);
    print_header(out, "device", m->device_id);
    print_header(out, "command", m->command_id);
    print_header(out, "key hash", m->key_hash);
    print_header(out, "fingerprint", m->fingerprint);
    fputc('\n', out);
    print_body(m, out);
    fputc('\n', out);
}
