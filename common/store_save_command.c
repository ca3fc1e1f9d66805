/* One save as a call of save.lua: its keys, its conditions, and what it writes. The order of the
 * words is the script's; see its head. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store_device.h"
#include "common/store_private.h"
#include "proto/command.h"

void store_print_token(struct store_batch *b, char ret[static STORE_TOKEN_CAP]) {
    snprintf(ret, STORE_TOKEN_CAP, "%s:%" PRIu64, b->token_prefix, ++b->n_tokens);
}

static bool deletes(const struct store_save *save) {
    return save->event && save->session->deleted;
}

static bool takes_snapshot(const struct store_save *save) {
    return !save->session->deleted && save->snapshot_id;
}

/* Who leaves the list of kept snapshots alone leaves the field alone: another engine may have added
 * to it without a version. */
static bool writes_kept(const struct store_save *save) {
    return takes_snapshot(save) || deletes(save) || save->expected.version == 0;
}

static bool joins(const struct store_save *save) {
    return save->event && !save->session->deleted && save->joiner;
}

static bool remembers(const struct store_save *save) {
    return save->key_hash && !deletes(save);
}

static bool tells_clock(const struct store_save *save) {
    return !save->event && save->tells_clock;
}

static size_t n_listed(const char *versions) {
    size_t n = *versions != '\0';
    for (const char *p = versions; *p; p++)
        n += *p == ',';
    return n;
}

static void put_snapshot_key(struct store_command *c, const char *session_id, uint64_t version) {
    char key[STORE_KEY_CAP];
    store_key_snapshot(session_id, version, key);
    store_put_name(c, key);
}

static void put_listed(struct store_command *c, const char *session_id, const char *versions) {
    while (*versions) {
        put_snapshot_key(c, session_id, strtoull(versions, NULL, 10));
        versions += strcspn(versions, ",");
        versions += *versions == ',';
    }
}

static void put_keys(struct store_command *c, const struct store_save *save) {
    const char *id = save->session->id;
    store_put_key(c, STORE_META, id);
    store_put_key(c, STORE_STATE, id);
    store_put_key(c, STORE_DELTAS, id);
    if (remembers(save) || deletes(save)) {
        store_put_key(c, STORE_IDEM, id);
        store_put_key(c, STORE_IDEM_ORDER, id);
    }
    if (takes_snapshot(save))
        put_snapshot_key(c, id, save->session->position.version);
    if (joins(save)) {
        store_put_key(c, STORE_DEVICES, id);
        store_put_key(c, STORE_PRESENCE, id);
    }
    if (save->dropped_snapshot)
        put_snapshot_key(c, id, save->dropped_snapshot);
    if (!deletes(save))
        return;
    store_put_key(c, STORE_DEVICES, id);
    store_put_key(c, STORE_PRESENCE, id);
    store_put_key(c, STORE_CONFIRMED, id);
    put_listed(c, id, save->session->snapshots);
}

static size_t n_keys(const struct store_save *save) {
    return 3 + 2 * (remembers(save) || deletes(save)) + takes_snapshot(save) + 2 * joins(save) +
           (save->dropped_snapshot != 0) +
           (deletes(save) ? 3 + n_listed(save->session->snapshots) : 0);
}

static void put_flags(struct store_command *c, const struct store_save *save) {
    char flags[12] = "";
    if (!save->event)
        strcat(flags, "h");
    else if (deletes(save))
        strcat(flags, "d");
    else if (save->writes_state)
        strcat(flags, save->is_unseen ? "we" : "w");
    if (takes_snapshot(save))
        strcat(flags, "s");
    if (remembers(save))
        strcat(flags, save->is_unseen ? "ku" : "k");
    if (joins(save))
        strcat(flags, "j");
    if (tells_clock(save))
        strcat(flags, "t");
    store_puts(c, flags);
}

static void put_state(struct store_command *c, const struct store_save *save) {
    struct buf state = BUF_NULL;
    if (takes_snapshot(save) || (save->event && !deletes(save) && save->writes_state))
        session_print_state(save->session, &state);
    store_put(c, state.data, state.len);
    buf_done(&state);
}

void store_print_idem(int64_t time, const char *fingerprint, struct position position,
                      const char *checksum, char ret[static STORE_IDEM_CAP]) {
    snprintf(ret, STORE_IDEM_CAP, "%" PRId64 " %s %" PRIu64 " %" PRIu64 " %s", time, fingerprint,
             position.version, position.epoch, checksum);
}

static void put_idem(struct store_command *c, const struct store_save *save) {
    char value[STORE_IDEM_CAP];
    const struct session *s = save->session;
    store_print_idem(save->now, save->fingerprint, s->position, s->checksum, value);
    store_puts(c, save->key_hash);
    store_puts(c, value);
}

static void put_entry_start(struct store_command *c, const struct store_save *save,
                            const char *event, size_t len) {
    const char *command_id = save->command_id ? save->command_id : "";
    store_puts(c, "t");
    store_put_i64(c, save->now);
    store_puts(c, "c");
    store_put_packed(c, save->session->id, command_id, strlen(command_id));
    store_puts(c, "e");
    store_put_packed(c, save->session->id, event, len);
    store_put_trace(c, save->trace);
}

static void put_id(struct store_command *c, const struct store_save *save, const char *field,
                   const char *id) {
    store_puts(c, field);
    store_put_packed(c, save->session->id, id, strlen(id));
}

static void put_entry(struct store_command *c, const struct store_save *save) {
    put_entry_start(c, save, save->event, save->event_len);
    if (save->extra) {
        store_puts(c, "x");
        store_puts(c, save->extra);
    }
    if (save->snapshot_id)
        put_id(c, save, "s", save->snapshot_id);
    if (save->key_hash) {
        put_id(c, save, "k", save->key_hash);
        put_id(c, save, "f", save->fingerprint);
    }
}

/* What they take and how many words they are goes before them. */
static void put_entries(struct store_command *c, const struct store_save *save) {
    _cleanup_(store_command_done) struct store_command entry = {0}, first = {0};
    if (save->event)
        put_entry(&entry, save);
    if (save->event && save->first_event)
        put_entry_start(&first, save, save->first_event, save->first_event_len);
    store_put_u64(c, entry.n_bytes + first.n_bytes);
    store_put_u64(c, entry.n_words);
    store_put_u64(c, first.n_words);
    store_put_words(c, &entry);
    store_put_words(c, &first);
}

static void put_kept_before(struct store_command *c, const struct store_save *save) {
    store_puts(c, save->kept_before && writes_kept(save) ? save->kept_before : "-");
}

/* The mark has its own writer, a save clears `cooling`, and the kept snapshots follow by
 * themselves.
 */
static void put_meta_field(void *arg, const char *field, const char *value, size_t len) {
    if (strcmp(field, "published") == 0 || strcmp(field, "cooling") == 0 ||
        strcmp(field, "snapshots") == 0)
        return;
    store_puts(arg, field);
    store_put(arg, value, len);
}

static void put_changed_field(void *arg, const char *field, const char *value, size_t len) {
    if (strcmp(field, "updatedAt") != 0 && strcmp(field, "touchedAt") != 0)
        put_meta_field(arg, field, value, len);
}

static void put_moment(struct store_command *c, const char *field, int64_t ms) {
    store_puts(c, field);
    store_put_i64(c, ms);
}

/* What differs from the session before, and always what tells how old it is: a heartbeat between
 * the two may have been refused. Of a new one what differs from nothing, which is how a field that
 * is not there is read: a fifth of what meta takes. */
static void put_version(struct store_command *c, const struct store_save *save, bool is_chained) {
    static const struct session nothing;
    const struct session *s = save->session;
    bool is_new = save->expected.version == 0 && !deletes(save);
    if (is_new || !is_chained || !save->before || deletes(save)) {
        session_each_meta(s, is_new ? &nothing : NULL, put_meta_field, c);
        return;
    }
    put_moment(c, "updatedAt", s->updated_at);
    put_moment(c, "touchedAt", s->touched_at);
    session_each_meta(s, save->before, put_changed_field, c);
}

/* Without a version only what was asked for: a heartbeat and a warning may cross. */
static void put_moments(struct store_command *c, const struct store_save *save) {
    if (!tells_clock(save)) {
        put_moment(c, "touchedAt", save->session->touched_at);
        return;
    }
    put_moment(c, "clockAt", save->session->clock_at);
    put_moment(c, "clockTold", save->session->clock_told);
}

static void put_meta(struct store_command *c, const struct store_save *save, bool is_chained) {
    if (!save->event)
        put_moments(c, save);
    else
        put_version(c, save, is_chained);
    const char *kept = deletes(save) ? "" : save->session->snapshots;
    if (writes_kept(save) && (save->expected.version != 0 || *kept)) {
        store_puts(c, "snapshots");
        store_puts(c, kept);
    }
}

/* The last words: who joins, as it was and as it becomes. */
static void put_joiner(struct store_command *c, const struct store_save *save) {
    const struct store_joiner *joiner = save->joiner;
    struct store_device_record d = {0};
    struct buf text = BUF_NULL;
    char counter[UUID_LEN + 8] = "";
    bool was_there = store_device_parse(joiner->record, strlen(joiner->record), &d) == 0 &&
                     d.state != STORE_DEVICE_LEFT;
    if (!was_there)
        snprintf(counter, sizeof(counter), "#user:%s", joiner->user_id);
    uint64_t look_at = store_device_join(&d, joiner->user_id, (uint64_t)save->joined_at);
    store_device_print(&d, &text);
    store_puts(c, joiner->device_id);
    store_puts(c, joiner->record);
    store_put(c, text.data, text.len);
    store_puts(c, counter);
    store_put_u64(c, PRESENCE_MAX_DEVICES_PER_USER);
    store_put_u64(c, look_at);
    buf_done(&text);
}

void store_begin_save(struct store_batch *b, struct store_command *c, const struct store_save *save,
                      const char *builds_on) {
    store_begin_script(b, c, STORE_SCRIPT_SAVE, n_keys(save));
    put_keys(c, save);
    store_put_u64(c, save->expected.version);
    store_put_u64(c, save->expected.epoch);
    store_puts(c, builds_on);
    store_puts(c, save->saved_token);
    put_flags(c, save);
    store_put_u64(c, save->session->position.version);
    store_put_i64(c, save->now);
    /* No younger entry leaves the window, else a command that comes again would not be found. */
    store_put_i64(c, COMMAND_LIFETIME_MS);
    put_state(c, save);
    put_kept_before(c, save);
    put_entries(c, save);
    put_meta(c, save, *builds_on);
    if (remembers(save))
        put_idem(c, save);
    if (joins(save))
        put_joiner(c, save);
    if (tells_clock(save))
        store_put_i64(c, save->told_before);
}
