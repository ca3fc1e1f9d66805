/* Who takes part in a session: GET /sessions/{id}/participants, and …/devices, which is put
 * together from the session (who is active, who is kept out), Redis (who is there) and PostgreSQL
 * (who ever was). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store_presence.h"
#include "services/session_api/api.h"

/* ---- participants ---- */

static void put_participant(void *arg, const char *user_id, enum session_role role) {
    struct buf *body = arg;
    buf_printf(body, ",{\"userId\":\"%s\",\"role\":\"%s\"}", user_id, session_role_name(role));
}

static void answer_participants(struct call *call, const struct session *session, bool is_hot) {
    (void)is_hot;
    struct buf body = BUF_NULL;
    buf_printf(&body, "{\"items\":[{\"userId\":\"%s\",\"role\":\"owner\"}", session->user_id);
    session_each_participant(session, put_participant, &body);
    buf_puts(&body, "]}");
    call_answer(call, 200, &body);
}

void sharing_participants(struct call *call) {
    access_read_meta(call, answer_participants);
}

/* ---- devices ---- */

/* Those seen last, along the index session_devices_seen. */
static const char devices_sql[] =
    "SELECT device_id, user_id, name, platform, (extract(epoch FROM first_seen) * 1000)::bigint, "
    "(extract(epoch FROM last_seen) * 1000)::bigint FROM session_devices "
    "WHERE session_id = $1::uuid ORDER BY last_seen DESC NULLS LAST LIMIT 1000";

static char *copy_or_null(const char *text) {
    return text && text[0] ? must_strdup(text) : NULL;
}

static void add_row(struct devices *devices, const struct db_result *rows, size_t row) {
    const char *id = db_value(rows, row, 0, NULL), *user = db_value(rows, row, 1, NULL);
    if (!id || !session_device_is_valid(id, strlen(id)))
        return; /* it would be no JSON */
    struct device *device = devices_add(devices, id);
    bool has_user = user && uuid_is(user, strlen(user));
    snprintf(device->user_id, sizeof(device->user_id), "%s", has_user ? user : "");
    device->name = copy_or_null(db_value(rows, row, 2, NULL));
    device->platform = copy_or_null(db_value(rows, row, 3, NULL));
    device->first_seen = db_number(rows, row, 4);
    device->last_seen = db_number(rows, row, 5);
}

static void on_rows(void *arg, int err, const struct db_result *rows) {
    struct call *call = arg;
    if (err < 0) {
        access_refuse_db(call, err, rows);
        return;
    }
    struct buf body = BUF_NULL;
    for (size_t i = 0; i < db_n_rows(rows); i++)
        add_row(&call->devices, rows, i);
    devices_settle(&call->devices);
    devices_print(&call->devices, &body);
    call_answer(call, 200, &body);
}

static void add_present(struct devices *devices, const struct store_device *present) {
    struct device *device = devices_add(devices, present->device_id);
    snprintf(device->user_id, sizeof(device->user_id), "%s", present->user_id);
    device->name = copy_or_null(present->name);
    device->platform = copy_or_null(present->platform);
    device->first_seen = present->first_seen;
    device->last_seen = present->last_seen;
    device->is_connected = present->is_connected;
}

static void on_present(void *arg, int err, const struct store_device *present, size_t n) {
    struct call *call = arg;
    const char *const params[] = {call->session_id};
    if (err < 0) {
        call_refuse_with(call, FAULT_UNAVAILABLE, "Redis cannot be reached");
        return;
    }
    for (size_t i = 0; i < n; i++)
        add_present(&call->devices, &present[i]);
    access_query(call, call->api->db, devices_sql, N_ELEMENTS(params), params, on_rows);
}

static void add_removed(void *arg, const char *device_id) {
    devices_add(arg, device_id)->is_removed = true;
}

static void read_devices(struct call *call, const struct session *session, bool is_hot) {
    (void)is_hot;
    session_each_removed_device(session, add_removed, &call->devices);
    if (session->active_device[0])
        devices_add(&call->devices, session->active_device)->is_active = true;
    store_read_devices(call->api->store, call->session_id, on_present, call);
}

void sharing_devices(struct call *call) {
    access_read_meta(call, read_devices);
}
