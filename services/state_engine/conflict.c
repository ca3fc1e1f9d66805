/* What a conflict tells the caller: the deltas it missed, or the whole session, so that a client
 * rebases without another round trip (contract, section 3). */
#include "services/state_engine/apply_private.h"

/* Appends the missed events as an array, which has at most so many bytes in all; false when they
 * are not all there or too many. */
static bool print_deltas(const struct session *s, uint64_t since, const struct window *window,
                         struct buf *out) {
    if (s->position.version - since > CONFLICT_MAX_DELTAS)
        return false;
    uint64_t expected = since + 1;
    size_t start = out->len;
    buf_putc(out, '[');
    for (size_t i = 0; i < window->n_entries; i++) {
        const struct window_entry *entry = &window->entries[i];
        if (entry->version <= since)
            continue;
        if (entry->version != expected++)
            return false;
        buf_puts(out, entry->version == since + 1 ? "" : ",");
        if (out->len - start + entry->event_len + 1 > CONFLICT_MAX_DELTAS_BYTES)
            return false;
        buf_put(out, entry->event, entry->event_len);
    }
    buf_putc(out, ']');
    return expected == s->position.version + 1;
}

char *conflict_print(const struct session *s, enum session_role role, bool is_known, uint64_t since,
                     const struct window *window) {
    _cleanup_(buf_done) struct buf deltas = BUF_NULL;
    struct buf out = BUF_NULL;
    buf_puts(&out, "{\"currentVersion\":");
    buf_put_u64(&out, s->position.version);
    buf_puts(&out, ",\"epoch\":");
    buf_put_u64(&out, s->position.epoch);
    if (is_known && print_deltas(s, since, window, &deltas)) {
        buf_puts(&out, ",\"deltas\":");
        buf_put(&out, deltas.data, deltas.len);
    } else {
        buf_puts(&out, ",\"session\":");
        session_print(s, role, &out);
    }
    buf_putc(&out, '}');
    return buf_take(&out);
}
