/* A command: whatever is taken prints as one that reads back the same, with the same fingerprint.
 */
#include "fuzz_json.h"
#include "proto/command.h"
#include "proto/reader.h"

static void check_own(const struct command *c) {
    const char *participant = c->participant_id, *device = c->target_device;
    must_hold(c->kind != COMMAND_RESTORE ||
              (c->data && strlen(c->checksum) == HASH_HEX_LEN && c->restored.version >= 1));
    must_hold(c->kind != COMMAND_PARTICIPANT || (uuid_is(participant, strlen(participant)) &&
                                                 c->participant_role < SESSION_ROLE_OWNER));
    must_hold(c->kind != COMMAND_DEVICE || session_device_is_valid(device, strlen(device)));
    must_hold(!c->label ||
              text_n_characters(c->label, strlen(c->label)) <= SESSION_LABEL_MAX_CHARACTERS);
}

static bool is_id_or_none(const char *id) {
    return !id[0] || clock_id_is_valid(id, strlen(id));
}

static void check_clock(const struct command *c) {
    const char *participant = c->clock_participant;
    must_hold(c->kind != COMMAND_CLOCK_SET || c->clock);
    must_hold(!c->clock || (c->clock->n_participants >= 1 &&
                            c->clock->n_participants <= CLOCK_MAX_PARTICIPANTS));
    must_hold(is_id_or_none(c->next_participant) && is_id_or_none(c->current_participant));
    if (c->kind != COMMAND_CLOCK_ADJUST)
        return;
    size_t n = text_n_characters(c->reason, strlen(c->reason));
    must_hold(clock_id_is_valid(participant, strlen(participant)));
    must_hold(c->adjust_ms >= -CLOCK_TIME_MAX_MS && c->adjust_ms <= CLOCK_TIME_MAX_MS);
    must_hold(n >= 1 && n <= COMMAND_REASON_MAX_CHARACTERS);
}

static void check_bounds(const struct command *c) {
    must_hold(uuid_is(c->id, strlen(c->id)) && uuid_is(c->session_id, strlen(c->session_id)));
    must_hold(c->n_if_match <= COMMAND_MAX_IF_MATCH);
    must_hold(c->has_base ? c->base.version >= 1 && c->base.epoch >= 1 : c->base.version == 0);
    must_hold(c->kind != COMMAND_PATCH || c->patch);
    must_hold(c->kind != COMMAND_CREATE || session_name_is_valid(c->name, strlen(c->name)));
    must_hold(c->kind == COMMAND_LOAD || c->kind == COMMAND_PRESENCE || c->device_id[0]);
    check_own(c);
    check_clock(c);
}

/* The quick way makes of it the same command, and of a beginning of it nothing. */
static void check_quick(const struct buf *printed) {
    struct reader r = {printed->data, printed->len}, cut = {printed->data, printed->len / 2};
    struct buf again = BUF_NULL;
    struct command c;
    must_hold(!command_read_quickly(&cut, &c) && cut.at == printed->data);
    if (!command_read_quickly(&r, &c))
        return;
    must_hold(r.left == 0);
    command_print(&c, &again);
    must_equal(printed, &again);
    command_done(&c);
    buf_done(&again);
}

/* What it takes of a stranger's text, command_parse takes, too. */
static void check_quick_of_any(const uint8_t *data, size_t size) {
    struct reader r = {(const char *)data, size};
    struct buf quick = BUF_NULL, parsed = BUF_NULL;
    struct command c, same;
    if (!command_read_quickly(&r, &c))
        return;
    json_t *value = fuzz_value(data, size - r.left);
    must_hold(value && command_parse(value, &same, NULL) == 0);
    command_print(&c, &quick);
    command_print(&same, &parsed);
    must_equal(&quick, &parsed);
    json_decref(value);
    command_done(&c);
    command_done(&same);
    buf_done(&quick);
    buf_done(&parsed);
}

static void check_round_trip(const struct command *c) {
    struct buf once = BUF_NULL, again = BUF_NULL;
    struct command read;
    command_print(c, &once);
    json_t *value = fuzz_reparsed(&once);
    must_hold(command_parse(value, &read, NULL) == 0);
    command_print(&read, &again);
    must_equal(&once, &again);
    check_quick(&once);
    char a[HASH_HEX_LEN + 1], b[HASH_HEX_LEN + 1];
    command_fingerprint(c, a);
    command_fingerprint(&read, b);
    must_hold(strcmp(a, b) == 0);
    command_key_hash(c, a);
    command_done(&read);
    json_decref(value);
    buf_done(&once);
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_quick_of_any(data, size);
    json_t *value = fuzz_value(data, size);
    if (!value)
        return 0;
    struct command c;
    struct fault f = {0};
    int r = command_parse(value, &c, &f);
    json_decref(value); /* the command owns what it needs */
    if (r) {
        must_hold(r == (int)f.code && f.field[0] && f.detail[0]);
        return 0;
    }
    check_bounds(&c);
    check_round_trip(&c);
    command_done(&c);
    return 0;
}
