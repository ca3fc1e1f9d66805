/* Records of devices; see store_device.h. */
#include "common/store_device.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define N_WORDS 12

static bool take_word(const char **at, const char *end, struct store_text *ret) {
    const char *space = memchr(*at, ' ', (size_t)(end - *at));
    if (!space)
        return false;
    *ret = (struct store_text){*at, (size_t)(space - *at)};
    *at = space + 1;
    return true;
}

static bool take_state(struct store_text word, enum store_device_state *ret) {
    static const char letters[] = "njl";
    const char *letter = word.len == 1 ? strchr(letters, word.text[0]) : NULL;
    if (!letter || !*letter)
        return false;
    *ret = (enum store_device_state)(letter - letters);
    return true;
}

static bool take_numbers(const struct store_text *words, uint64_t *const *numbers, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!store_parse_u64(words[i].text, words[i].len, numbers[i]) || *numbers[i] > INT64_MAX)
            return false;
    return true;
}

int store_device_parse(const char *text, size_t len, struct store_device_record *ret) {
    struct store_device_record d = {0};
    struct store_text words[N_WORDS];
    const char *at = text, *end = text + len;
    uint64_t n_name = 0, has_connected = 0;
    uint64_t *const numbers[] = {&d.n_connections, &d.first_seen, &d.last_seen, &d.moment,
                                 &has_connected,   &d.leaves_at,  &d.owed_join, &d.owed_leave,
                                 &d.lease,         &n_name};
    for (size_t i = 0; i < N_WORDS; i++)
        if (!take_word(&at, end, &words[i]))
            return -EBADMSG;
    if (!uuid_is(words[0].text, words[0].len) || !take_state(words[1], &d.state) ||
        !take_numbers(words + 2, numbers, N_ELEMENTS(numbers)) || n_name > (size_t)(end - at))
        return -EBADMSG;
    store_copy(d.user_id, sizeof(d.user_id), words[0].text, words[0].len);
    store_copy(d.name, sizeof(d.name), at, n_name);
    store_copy(d.platform, sizeof(d.platform), at + n_name, (size_t)(end - at) - n_name);
    d.has_connected = has_connected != 0;
    *ret = d;
    return 0;
}

void store_device_print(const struct store_device_record *d, struct buf *out) {
    buf_printf(out,
               "%s %c %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %d %" PRIu64 " %" PRIu64
               " %" PRIu64 " %" PRIu64 " %zu %s%s",
               d->user_id, "njl"[d->state], d -> n_connections, d -> first_seen, d -> last_seen,
               d -> moment, d -> has_connected, d -> leaves_at, d -> owed_join, d -> owed_leave,
               d -> lease, strlen(d->name), d -> name, d -> platform);
}

uint64_t store_device_join(struct store_device_record *d, const char *user_id, uint64_t moment) {
    if (!*d->user_id || d->state == STORE_DEVICE_LEFT) { /* it was not there a moment ago */
        store_copy(d->user_id, sizeof(d->user_id), user_id, strlen(user_id));
        d->n_connections = 0;
        d->first_seen = moment;
        d->has_connected = false;
        d->leaves_at = moment + PRESENCE_REQUEST_LEFT_AFTER_MS;
    }
    d->state = STORE_DEVICE_JOINED;
    d->last_seen = d->moment = moment;
    d->owed_join = d->owed_leave = d->lease = 0; /* told after this join they would belie it */
    return d->n_connections ? 0 : d->leaves_at;
}

void store_put_presence(struct store_command *c, const char *session_id, const char *operation,
                        int64_t now) {
    store_puts(c, "3");
    store_put_key(c, STORE_DEVICES, session_id);
    store_put_key(c, STORE_PRESENCE, session_id);
    store_put_key(c, STORE_META, session_id);
    store_puts(c, operation);
    store_put_i64(c, now);
}
