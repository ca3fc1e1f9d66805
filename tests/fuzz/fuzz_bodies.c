/* A request's body. The first byte chooses what is read, the second the media type; what is taken
 * makes a command that the engine's parser takes, and what is refused says where and why. */
#include "fuzz_json.h"
#include "proto/patch.h"
#include "services/session_api/bodies.h"
#include "services/session_api/handoff_code.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define USER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"

typedef int read_fn(enum media_type type, const char *body, size_t len, struct command *c,
                    struct fault *f);

static const struct {
    read_fn *read;
    enum command_kind kind;
} kinds[] = {
    {bodies_read_create, COMMAND_CREATE},           {bodies_read_patch, COMMAND_PATCH},
    {bodies_read_snapshot, COMMAND_SNAPSHOT},       {bodies_read_restore, COMMAND_RESTORE},
    {bodies_read_participant, COMMAND_PARTICIPANT}, {bodies_read_clock, COMMAND_CLOCK_SET},
    {bodies_read_switch, COMMAND_SWITCH},           {bodies_read_adjust, COMMAND_CLOCK_ADJUST}};

static void check_refused(int r, const struct fault *f) {
    must_hold(r == (int)f->code && f->detail[0]);
    must_hold(text_is_utf8(f->detail, strlen(f->detail)));
    must_hold(fault_http_status(f->code) >= 400 && fault_http_status(f->code) < 500);
}

/* As routes fill in the rest. */
static void complete(struct command *c, enum command_kind kind) {
    c->kind = kind;
    strcpy(c->id, ID);
    strcpy(c->session_id, ID);
    strcpy(c->user_id, USER);
    strcpy(c->device_id, "d");
    c->deadline = 1;
    if (kind == COMMAND_RESTORE) {
        c->data = json_object();
        memset(c->checksum, '0', HASH_HEX_LEN);
        c->restored.epoch = c->restored.epoch ? c->restored.epoch : 1;
    }
    if (kind == COMMAND_PARTICIPANT)
        strcpy(c->participant_id, USER);
    if (kind == COMMAND_CLOCK_ADJUST)
        strcpy(c->clock_participant, "white");
}

static void check_command(struct command *c, enum command_kind kind) {
    struct command again;
    struct buf text = BUF_NULL, twice = BUF_NULL;
    complete(c, kind);
    command_print(c, &text);
    json_t *value = fuzz_reparsed(&text);
    must_hold(command_parse(value, &again, NULL) == 0);
    command_print(&again, &twice);
    must_equal(&text, &twice);
    json_decref(value);
    command_done(&again);
    buf_done(&text);
    buf_done(&twice);
}

static void check_kind(size_t i, enum media_type type, const char *body, size_t len) {
    struct command c = {0};
    struct fault f = {.index = -1};
    int r = kinds[i].read(type, body, len, &c, &f);
    if (r)
        check_refused(r, &f);
    else
        check_command(&c, kinds[i].kind);
    must_hold(r || kinds[i].kind != COMMAND_PATCH || c.patch);
    command_done(&c);
}

static void check_broadcast(enum media_type type, const char *body, size_t len) {
    json_t *message = NULL;
    bool echo = false;
    struct fault f = {0};
    int r = bodies_read_broadcast(type, body, len, &message, &echo, &f);
    if (r)
        check_refused(r, &f);
    else
        must_hold(message != NULL);
    json_decref(message);
}

static void check_offer(enum media_type type, const char *body, size_t len) {
    enum session_role role = SESSION_ROLE_NONE;
    int64_t ttl_s = 0;
    struct fault f = {0};
    int r = bodies_read_offer(type, body, len, &role, &ttl_s, &f);
    if (r)
        check_refused(r, &f);
    else
        must_hold(role != SESSION_ROLE_NONE && ttl_s >= HANDOFF_TTL_MIN_S &&
                  ttl_s <= HANDOFF_TTL_MAX_S);
}

static void check_redeem(enum media_type type, const char *body, size_t len) {
    char hash[HASH_HEX_LEN + 1] = "", device[SESSION_DEVICE_MAX + 1] = "";
    struct fault f = {0};
    int r = bodies_read_redeem(type, body, len, hash, device, &f);
    if (r)
        check_refused(r, &f);
    else
        must_hold(hash_is_hex(hash, strlen(hash)) &&
                  (!device[0] || session_device_is_valid(device, strlen(device))));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum media_type types[] = {MEDIA_JSON, MEDIA_JSON_PATCH, MEDIA_MERGE_PATCH,
                                            MEDIA_OTHER};
    if (size < 2)
        return 0;
    enum media_type type = types[data[1] % N_ELEMENTS(types)];
    size_t which = data[0] % (N_ELEMENTS(kinds) + 3), len = size - 2;
    char *body = fuzz_text(data + 2, len);
    if (which < N_ELEMENTS(kinds))
        check_kind(which, type, body, len);
    else if (which == N_ELEMENTS(kinds))
        check_broadcast(type, body, len);
    else if (which == N_ELEMENTS(kinds) + 1)
        check_offer(type, body, len);
    else
        check_redeem(type, body, len);
    free(body);
    return 0;
}
