/* Versioned events of one session, gathered onto a base and put together in one of libuv's threads
 * (proto/rebuild.h): fifty changes of half a megabyte cost more than a loop should wait. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/cleanup.h"
#include "proto/session.h"

struct replay;

struct replayed { /* borrowed during the callback */
    struct position position;
    const char *data; /* canonical */
    size_t data_len;
    json_t *value; /* the same, parsed */
    const char *checksum;
};
/* err: 0; -EBADMSG: what was gathered has not the checksum that it should have; -ETIME: it takes
 * too long; -ECANCELED. replayed: NULL unless err is 0. */
typedef void replay_fn(void *arg, int err, const struct replayed *replayed);

/* Nothing is gathered: without a base, the first event has to be the creation of the session. */
struct replay *replay_new(uv_loop_t *loop, replay_fn *done, void *arg);
/* Takes NULL. done is not called any more; the thread's work is waited for behind the scenes. */
struct replay *replay_free(struct replay *r);
DEFINE_CLEANUP(struct replay *, replay_free)

/* Forgets what was gathered and begins with a kept state. -EBADMSG when that is no checksum. */
MUSTCHECK int replay_begin(struct replay *r, struct position position, const char *data, size_t len,
                           const char *checksum);
/* The next version's event; len 0: one that left data and name alone. -EBADMSG: it is not the next;
 * -ENOBUFS: REBUILD_MAX_EVENTS or REBUILD_MAX_BYTES are gathered. */
MUSTCHECK int replay_add(struct replay *r, uint64_t version, const char *event, size_t len);
/* The version that was gathered last; 0 when nothing was. */
uint64_t replay_last_version(const struct replay *r);

/* done is called once, later. or_less: where the whole has not its checksum, the newest version
 * before it that has. Nothing may be gathered until then. */
void replay_run(struct replay *r, bool or_less);
/* From within done or later: what was put together is the base of what is gathered next. */
void replay_go_on(struct replay *r);
