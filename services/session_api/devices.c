/* See devices.h. A session may have had 20 000 devices, so rows are sorted, not searched. */
#include "services/session_api/devices.h"

#include <stdlib.h>
#include <string.h>

#include "base/timestamp.h"

struct device *devices_add(struct devices *d, const char *id) {
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 16;
        d->items = must_realloc(d->items, d->cap * sizeof(*d->items));
    }
    struct device *device = &d->items[d->n];
    *device = (struct device){.order = d->n++};
    size_t len = strnlen(id, SESSION_DEVICE_MAX);
    memcpy(device->id, id, len);
    device->id[len] = '\0';
    return device;
}

static void device_done(struct device *device) {
    free(device->name);
    free(device->platform);
}

void devices_done(struct devices *d) {
    for (size_t i = 0; i < d->n; i++)
        device_done(&d->items[i]);
    free(d->items);
    *d = (struct devices){0};
}

/* ---- one row a device ---- */

static int compare_ids(const void *a, const void *b) {
    const struct device *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static void take_text(char **to, char **from) {
    if (!*to)
        *to = TAKE_PTR(*from);
}

static void merge(struct device *to, struct device *from) {
    if (!to->user_id[0])
        memcpy(to->user_id, from->user_id, sizeof(to->user_id));
    take_text(&to->name, &from->name);
    take_text(&to->platform, &from->platform);
    if (from->first_seen && (!to->first_seen || from->first_seen < to->first_seen))
        to->first_seen = from->first_seen;
    if (from->last_seen > to->last_seen)
        to->last_seen = from->last_seen;
    to->is_connected |= from->is_connected;
    to->is_active |= from->is_active;
    to->is_removed |= from->is_removed;
    device_done(from);
}

static int compare_listed(const void *a, const void *b) {
    const struct device *x = a, *y = b;
    if (x->is_connected != y->is_connected)
        return x->is_connected ? -1 : 1;
    if (x->last_seen != y->last_seen)
        return x->last_seen > y->last_seen ? -1 : 1;
    return strcmp(x->id, y->id);
}

void devices_settle(struct devices *d) {
    size_t n = 0;
    if (d->n == 0)
        return;
    qsort(d->items, d->n, sizeof(*d->items), compare_ids);
    for (size_t i = 1; i < d->n; i++)
        if (strcmp(d->items[n].id, d->items[i].id) == 0)
            merge(&d->items[n], &d->items[i]);
        else
            d->items[++n] = d->items[i];
    d->n = n + 1;
    qsort(d->items, d->n, sizeof(*d->items), compare_listed);
    while (d->n > DEVICES_MAX_LISTED)
        device_done(&d->items[--d->n]);
}

/* ---- JSON ---- */

static void put_text(struct buf *out, const char *name, const char *text) {
    buf_printf(out, ",\"%s\":", name);
    if (text && text[0])
        buf_puts_json(out, text);
    else
        buf_puts(out, "null");
}

static void put_moment(struct buf *out, const char *name, int64_t moment) {
    char text[TIMESTAMP_LEN + 1];
    timestamp_print(moment, text);
    put_text(out, name, moment ? text : NULL);
}

static void put_bool(struct buf *out, const char *name, bool value) {
    buf_printf(out, ",\"%s\":%s", name, value ? "true" : "false");
}

void devices_print(const struct devices *d, struct buf *out) {
    buf_puts(out, "{\"items\":[");
    for (size_t i = 0; i < d->n; i++) {
        const struct device *device = &d->items[i];
        buf_printf(out, "%s{\"deviceId\":\"%s\"", i ? "," : "", device->id);
        put_text(out, "userId", device->user_id);
        put_text(out, "name", device->name);
        put_text(out, "platform", device->platform);
        put_moment(out, "firstSeen", device->first_seen);
        put_moment(out, "lastSeen", device->last_seen);
        put_bool(out, "connected", device->is_connected);
        put_bool(out, "active", device->is_active);
        put_bool(out, "removed", device->is_removed);
        buf_putc(out, '}');
    }
    buf_puts(out, "]}");
}
