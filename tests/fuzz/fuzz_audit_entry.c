/* A delivery of the audit queue: properties as lines, an empty line, the body. Read mark by mark it
 * says what the parser says; what becomes a row is within what PostgreSQL's columns take. Several
 * of one session make one change, whatever their order. */
#include <limits.h>

#include "fuzz_bus_message.h"
#include "services/audit_writer/entry.h"
#include "services/audit_writer/entry_scan.h"

static void must_be_equal(const char *a, const char *b) {
    must_hold(!a == !b && (!a || strcmp(a, b) == 0));
}

static void check_scan(const char *body, size_t len) {
    struct event quick, slow;
    struct fault f = {0};
    char checksum[HASH_HEX_LEN + 1] = "";
    json_t *value = NULL;
    if (!entry_scan_delta(body, len, &quick, checksum))
        return;
    must_hold(event_parse(body, len, &slow, &value, &f) == 0);
    must_hold(slow.type == EVENT_STATE_DELTA && quick.type == slow.type);
    must_hold(position_equal(quick.position, slow.position) && quick.timestamp == slow.timestamp);
    must_be_equal(quick.session_id, slow.session_id);
    must_be_equal(quick.user_id, slow.user_id);
    must_be_equal(quick.device_id, slow.device_id);
    must_be_equal(quick.message_id, slow.message_id);
    must_be_equal(checksum, json_string_value(json_object_get(value, "checksum")));
    must_hold(json_is_array(json_object_get(value, "operations")));
    json_decref(value);
    event_done(&slow);
}

static void check_row(const struct entry *e) {
    const struct session_change *c = &e->change;
    must_hold(e->event.position.version <= INT_MAX && e->event.position.epoch <= INT_MAX);
    must_hold(uuid_is(c->id, UUID_LEN) && e->message_id[0]);
    must_hold(!c->has_created || (uuid_is(c->user_id, UUID_LEN) && c->name));
    must_hold(c->ttl_seconds >= 0 && c->ttl_seconds <= INT_MAX);
    must_hold(!e->participant.user_id[0] || uuid_is(e->participant.user_id, UUID_LEN));
    must_hold(!e->device.device_id[0] ||
              session_device_is_valid(e->device.device_id, strlen(e->device.device_id)));
    must_hold(!e->event.command_id[0] || uuid_is(e->event.command_id, UUID_LEN));
    must_hold(!e->event.key_hash[0] == !e->event.fingerprint[0]);
}

static struct entry *read_entry(const struct bus_message *m) {
    struct entry *e = entry_new(m, 1, 1);
    must_hold(strlen(e->reason) < sizeof(e->reason));
    if (entry_is_row(e))
        check_row(e);
    return e;
}

/* With a later one that says the like. */
static void check_merge(const struct bus_message *m) {
    struct entry *a = read_entry(m), *b = read_entry(m), *c = read_entry(m), *d = read_entry(m);
    if (entry_is_row(a)) {
        int64_t later = a->change.status_position + 1;
        b->change.position.version++;
        b->change.status_position = b->change.status_position ? later : 0;
        d->change.position.version++;
        d->change.status_position = d->change.status_position ? later : 0;
        change_merge(&a->change, &b->change);
        change_merge(&d->change, &c->change);
        must_hold(position_equal(a->change.position, d->change.position));
        must_hold(a->change.status_position == d->change.status_position);
        must_hold(a->change.name_position == d->change.name_position);
        must_be_equal(a->change.name, d->change.name);
        must_be_equal(a->change.checksum, d->change.checksum);
        must_be_equal(a->change.clock, d->change.clock);
        must_be_equal(a->change.status, d->change.status);
        must_be_equal(a->change.active_device, d->change.active_device);
    }
    entry_free(a);
    entry_free(b);
    entry_free(c);
    entry_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_message m;
    fuzz_message(data, size, &m);
    check_scan(m.message.body, m.message.body_len);
    check_merge(&m.message);
    fuzz_message_done(&m);
    return 0;
}
