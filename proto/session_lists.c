/* Participants and removed devices: short lists that meta keeps as text, ",a,b,"; see session.h. */
#include <stdio.h>
#include <string.h>

#include "proto/session.h"

#define ITEM_CAP (SESSION_DEVICE_MAX + 1)

/* Where ",<start>" begins in the list, NULL when nowhere. end: what must follow start. */
static const char *find(const char *list, const char *start, char end) {
    char wanted[ITEM_CAP + 2];
    int len = snprintf(wanted, sizeof(wanted), ",%s%c", start, end);
    return list && len > 2 && len < (int)sizeof(wanted) ? strstr(list, wanted) : NULL;
}

static size_t count(const char *list) {
    size_t n = 0;
    for (const char *p = list; p && *p; p++)
        n += *p == ',';
    return n ? n - 1 : 0;
}

/* Takes the item at `at` (its leading comma) off the list. */
static void cut(char **list, const char *at) {
    struct buf out = BUF_NULL;
    const char *next = strchr(at + 1, ',');
    buf_put(&out, *list, (size_t)(at - *list));
    buf_puts(&out, next);
    free(*list);
    *list = out.len > 1 ? buf_take(&out) : NULL;
    buf_done(&out);
}

static void append(char **list, const char *item) {
    struct buf out = BUF_NULL;
    buf_printf(&out, "%s%s,", *list ? *list : ",", item);
    free(*list);
    *list = buf_take(&out);
}

typedef bool item_valid_fn(const char *item, size_t len);

/* Whether list is nothing, or ",a,b," with at most so many valid items. */
static bool is_list(const char *list, size_t len, item_valid_fn *is_valid, size_t most) {
    size_t n = 0;
    if (len == 0)
        return true;
    if (len < 3 || list[0] != ',' || list[len - 1] != ',')
        return false;
    for (size_t at = 1; at < len; n++) {
        const char *end = memchr(list + at, ',', len - at);
        size_t item_len = (size_t)(end - (list + at));
        if (!is_valid(list + at, item_len))
            return false;
        at += item_len + 1;
    }
    return n <= most;
}

/* ---- participants ---- */

static bool is_participant(const char *item, size_t len) {
    char role[16];
    enum session_role ignored;
    if (len < UUID_LEN + 1 || len - UUID_LEN > sizeof(role) || item[UUID_LEN] != ':' ||
        !uuid_is(item, UUID_LEN))
        return false;
    len -= UUID_LEN + 1;
    memcpy(role, item + UUID_LEN + 1, len);
    role[len] = '\0';
    return strlen(role) == len && session_role_parse(role, &ignored);
}

bool session_participants_are_valid(const char *list, size_t len) {
    return is_list(list, len, is_participant, SESSION_MAX_PARTICIPANTS);
}

bool session_role_parse(const char *name, enum session_role *ret) {
    if (strcmp(name, session_role_name(SESSION_ROLE_EDITOR)) == 0)
        *ret = SESSION_ROLE_EDITOR;
    else if (strcmp(name, session_role_name(SESSION_ROLE_VIEWER)) == 0)
        *ret = SESSION_ROLE_VIEWER;
    else
        return false;
    return true;
}

static enum session_role role_at(const char *item) {
    enum session_role role = SESSION_ROLE_NONE;
    char name[16];
    size_t len = strcspn(item + UUID_LEN + 2, ",");
    if (len < sizeof(name)) {
        memcpy(name, item + UUID_LEN + 2, len);
        name[len] = '\0';
        (void)session_role_parse(name, &role);
    }
    return role;
}

enum session_role session_role_of(const struct session *s, const char *user_id) {
    if (strcmp(s->user_id, user_id) == 0)
        return SESSION_ROLE_OWNER;
    const char *item = find(s->participants, user_id, ':');
    return item ? role_at(item) : SESSION_ROLE_NONE;
}

bool session_set_participant(struct session *s, const char *user_id, enum session_role role) {
    const char *item; /* of what somebody else wrote there may be two */
    while ((item = find(s->participants, user_id, ':')))
        cut(&s->participants, item);
    if (role == SESSION_ROLE_NONE)
        return true;
    if (count(s->participants) >= SESSION_MAX_PARTICIPANTS)
        return false;
    char text[UUID_LEN + 16];
    snprintf(text, sizeof(text), "%s:%s", user_id, session_role_name(role));
    append(&s->participants, text);
    return true;
}

void session_each_participant(const struct session *s,
                              void (*visit)(void *arg, const char *user_id, enum session_role role),
                              void *arg) {
    for (const char *at = s->participants; at && at[1]; at = strchr(at + 1, ',')) {
        char user_id[UUID_LEN + 1];
        if (strcspn(at + 1, ":") != UUID_LEN)
            continue;
        memcpy(user_id, at + 1, UUID_LEN);
        user_id[UUID_LEN] = '\0';
        visit(arg, user_id, role_at(at));
    }
}

/* ---- removed devices ---- */

bool session_removed_devices_are_valid(const char *list, size_t len) {
    return is_list(list, len, session_device_is_valid, SESSION_MAX_REMOVED_DEVICES);
}

bool session_device_is_removed(const struct session *s, const char *device_id) {
    return find(s->removed_devices, device_id, ',') != NULL;
}

bool session_set_device_removed(struct session *s, const char *device_id, bool removed) {
    const char *item = find(s->removed_devices, device_id, ',');
    for (; !removed && item; item = find(s->removed_devices, device_id, ','))
        cut(&s->removed_devices, item);
    if (!removed || item)
        return true;
    if (count(s->removed_devices) >= SESSION_MAX_REMOVED_DEVICES)
        return false;
    append(&s->removed_devices, device_id);
    return true;
}

void session_each_removed_device(const struct session *s,
                                 void (*visit)(void *arg, const char *device_id), void *arg) {
    for (const char *at = s->removed_devices; at && at[1]; at = strchr(at + 1, ',')) {
        char device_id[SESSION_DEVICE_MAX + 1];
        size_t len = strcspn(at + 1, ",");
        if (len >= sizeof(device_id))
            continue;
        memcpy(device_id, at + 1, len);
        device_id[len] = '\0';
        visit(arg, device_id);
    }
}
