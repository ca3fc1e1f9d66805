/* The events of a version that was saved, made again from the delta window: for a command that
 * comes again, and for what the attention look finds above the published mark. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "common/store_batch.h"
#include "proto/event.h"
#include "services/state_engine/apply.h"

/* The unversioned events behind events[0], as they are kept in the entry of the last version:
 * appends a JSON array
 * [{"type","messageId","body":{…}}] (snapshots are left out: they are kept by themselves). Appends
 * nothing when there are none. */
void republish_print_extra(const struct event *events, size_t n, struct buf *out);

/* Fills ret_events (room for CHANGE_MAX_EVENTS) with the same message ids as the first time. A
 * snapshot that is no longer kept is left out. -EBADMSG: the entry is damaged; negative: Redis did
 * not answer. */
MUSTCHECK int republish_entry(struct store_batch *store, const struct session *s,
                              const struct store_entry *entry, struct event *ret_events,
                              size_t *ret_n);
/* The event of a snapshot that was asked for and saved before, as `idem` remembers it. -ENOENT: it
 * is no longer kept; -EBADMSG: it is damaged; negative else: Redis did not answer. */
MUSTCHECK int republish_snapshot(struct store_batch *store, const struct session *s,
                                 const struct command *c, const struct store_idem *idem,
                                 struct event *ret);
