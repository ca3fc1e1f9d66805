/* Lists of session_api: a line with the request's target, then what PostgreSQL says, rows up to an
 * empty line or a line "!". The first byte chooses the list. Each request is answered once, with a
 * page of JSON wherever the rows' own JSON is that, or refused; what is asked has its bounds. A
 * line that begins with "?": Redis does not answer; with "-": PostgreSQL takes no question. */
#include <errno.h>

#include "common/http_server.h"
#include "common/store_presence.h"
#include "fuzz_rows.h"
#include "services/session_api/api.h"

#define ID "0197a3b4-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define USER "8a2b3c4d-5e6f-4a1b-9c2d-3e4f5a6b7c8d"
#define MAX_PARAMETERS 16

static struct {
    char *at; /* of the input: the rows */
    call_fn *list;
    bool rows_are_json;
    size_t n_answers;
} world;

/* ---- what is around a list ---- */

void call_add_header(struct call *call, const char *name, const char *value) {
    (void)call;
    must_hold(name[0] && !strpbrk(value, "\r\n"));
}

void call_answer(struct call *call, int status, struct buf *body) {
    (void)call;
    must_hold(status == 200 && body && body->len);
    json_t *value = fuzz_value((const uint8_t *)body->data, body->len);
    must_hold(!world.rows_are_json || json_is_array(json_object_get(value, "items")));
    json_decref(value);
    buf_done(body);
    world.n_answers++;
}

void call_refuse(struct call *call, const struct fault *fault, const char *conflict) {
    (void)call;
    must_hold(fault->code && fault->detail[0] && !conflict);
    world.n_answers++;
}

void call_refuse_with(struct call *call, enum fault_code code, const char *detail) {
    (void)call;
    must_hold(code && detail[0]);
    world.n_answers++;
}

void access_refuse_db(struct call *call, int err, const struct db_result *rows) {
    must_hold(err < 0 && !rows);
    call_refuse_with(call, FAULT_UNAVAILABLE, "PostgreSQL cannot be reached");
}

void access_read_meta(struct call *call, access_fn *go) {
    struct session s = {.position = {4, 1}, .id = ID, .user_id = USER, .active_device = "phone"};
    must_hold(session_set_device_removed(&s, "tv", true));
    must_hold(session_set_participant(&s, ID, SESSION_ROLE_VIEWER));
    go(call, &s, true);
    session_done(&s);
}

static bool are_json(const struct db_result *rows) {
    bool are = true;
    for (size_t i = 0; i < rows->n_rows; i++) {
        const char *cell = rows->cells[i][0];
        json_t *value = cell ? fuzz_value((const uint8_t *)cell, strlen(cell)) : NULL;
        are = are && value;
        json_decref(value);
    }
    return are;
}

static void give_rows(db_done_fn *done, void *arg) {
    struct db_result *rows = must_alloc(sizeof(*rows));
    bool fails = world.at && *world.at == '!';
    if (fails)
        (void)strsep(&world.at, "\n");
    else
        fuzz_rows(&world.at, rows);
    if (world.list == history_list)
        world.rows_are_json = are_json(rows);
    done(arg, fails ? -ENOTCONN : 0, fails ? NULL : rows);
    free(rows);
}

void access_query(struct call *call, struct db *db, const char *sql, size_t n_params,
                  const char *const *params, db_done_fn *done) {
    (void)db;
    must_hold(sql[0] && n_params >= 1 && n_params <= MAX_PARAMETERS && params[0]);
    must_hold(call->limit <= 200);
    give_rows(done, call);
}

/* The devices that Redis knows of; or it does not answer. */
void store_read_devices(struct store *s, const char *session_id, store_devices_fn *done,
                        void *arg) {
    const struct store_device devices[] = {{.device_id = "phone",
                                            .user_id = USER,
                                            .name = "n",
                                            .platform = "",
                                            .is_connected = true,
                                            .first_seen = 5,
                                            .last_seen = 6}};
    bool fails = world.at && *world.at == '?';
    (void)s;
    must_hold(strcmp(session_id, ID) == 0);
    done(arg, fails ? -ENOTCONN : 0, fails ? NULL : devices, fails ? 0 : 1);
}

int db_query(struct db *d, const char *sql, size_t n_params, const char *const *params,
             db_done_fn *done, void *arg) {
    (void)d;
    must_hold(sql[0] && n_params == 2 && params[0] && params[1]);
    if (world.at && *world.at == '-')
        return -ENOTCONN;
    give_rows(done, arg);
    return 0;
}

int db_end(struct db *d, db_done_fn *done, void *arg) {
    (void)d, (void)done, (void)arg;
    return 0;
}

/* ---- the lists ---- */

static void take_quota(struct call *call) {
    struct quota *q = quota_new(NULL, 3);
    size_t n = 0;
    for (int i = 0; i < 5; i++)
        n += quota_take(q, call->who.user_id);
    must_hold(n <= 5);
    quota_free(q);
    world.n_answers++;
}

/* Of these the rows hold texts and moments alone. */
static bool is_json_whatever_comes(call_fn *list) {
    return list == sharing_devices || list == sharing_participants;
}

static void ask(call_fn *list, const char *target) {
    struct api api = {.app = NULL};
    struct call *call = must_alloc(sizeof(*call));
    *call = (struct call){.api = &api, .request = http_request_new(target)};
    strcpy(call->session_id, ID);
    strcpy(call->who.user_id, USER);
    world.list = list;
    world.rows_are_json = is_json_whatever_comes(list);
    list(call);
    must_hold(world.n_answers == 1);
    buf_done(&call->filters);
    devices_done(&call->devices);
    http_request_free(call->request);
    free(call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static call_fn *const lists[] = {list_sessions,   history_list,         snapshots_list,
                                     sharing_devices, sharing_participants, take_quota};
    if (size < 1 || !text_is_utf8((const char *)data + 1, size - 1)) /* as PostgreSQL's texts are */
        return 0;
    char *text = fuzz_text(data + 1, size - 1), *at = text;
    memset(&world, 0, sizeof(world));
    const char *target = strsep(&at, "\n");
    world.at = at;
    ask(lists[data[0] % N_ELEMENTS(lists)], target);
    free(text);
    return 0;
}
