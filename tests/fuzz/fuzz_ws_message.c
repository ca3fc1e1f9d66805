/* A client's WebSocket message: whatever is taken makes a command that the engine's parser takes;
 * what is refused can be answered. */
#include "fuzz_json.h"
#include "services/ws_fanout/protocol.h"

static void check_answer(const struct protocol_message *m, const struct fault *f) {
    struct buf out = BUF_NULL;
    must_hold(f->code > FAULT_NONE && f->code < FAULT_N_CODES && f->detail[0]);
    protocol_print_error(m->id, m->session_id, f, NULL, &out);
    json_decref(fuzz_reparsed(&out));
    buf_done(&out);
}

static void check_command(struct protocol_message *m) {
    struct command *c = &m->command, read;
    struct buf out = BUF_NULL;
    must_hold(strcmp(c->session_id, m->session_id) == 0);
    memcpy(c->id, m->session_id, sizeof(c->id));
    memcpy(c->user_id, m->session_id, sizeof(c->user_id));
    strcpy(c->device_id, "d");
    c->deadline = 1;
    command_print(c, &out);
    json_t *value = fuzz_reparsed(&out);
    must_hold(command_parse(value, &read, NULL) == 0);
    command_done(&read);
    json_decref(value);
    buf_done(&out);
}

static void check_taken(struct protocol_message *m) {
    bool has_session = m->type != PROTOCOL_AUTH && m->type != PROTOCOL_PING;
    must_hold(m->type < PROTOCOL_N_TYPES);
    must_hold(!has_session || uuid_is(m->session_id, strlen(m->session_id)));
    must_hold(m->type != PROTOCOL_AUTH || m->token);
    must_hold(!m->has_since || (m->since.epoch >= 1 && m->since.version <= TEXT_INTEGER_MAX));
    must_hold(!m->device_name || (*m->device_name && strlen(m->device_name) <= 255));
    must_hold(!m->device_platform || (*m->device_platform && strlen(m->device_platform) <= 64));
    must_hold(text_n_characters(m->id, strlen(m->id)) <= PROTOCOL_ID_MAX_CHARACTERS);
    if (m->type == PROTOCOL_PATCH || m->type == PROTOCOL_STATUS || m->type == PROTOCOL_SWITCH ||
        m->type == PROTOCOL_HEARTBEAT)
        check_command(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct protocol_message m;
    struct fault f = {.index = -1};
    int r = protocol_parse((const char *)data, size, &m, &f);
    must_hold(r == (int)f.code);
    if (r)
        check_answer(&m, &f);
    else
        check_taken(&m);
    protocol_message_done(&m);
    return 0;
}
