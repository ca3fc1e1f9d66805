/* One earlier version being made again: what it takes is gathered from Redis, else from PostgreSQL,
 * and put together in one of libuv's threads, since half a megabyte with fifty changes costs more
 * than the loop's other requests should wait. */
#pragma once

#include <jansson.h>

#include "proto/fault.h"
#include "proto/session.h"

struct call;
struct version_job;

#define VERSION_JOBS_MAX 8 /* at once; each holds at most REBUILD_MAX_BYTES and a session */
#define VERSION_JOBS_MAX_OF_USER 4
/* The same of cold sessions' own data, of which going cold left a snapshot: a session each. */
#define COLD_JOBS_MAX 64
#define COLD_JOBS_MAX_OF_USER 32

struct version_result { /* borrowed during the callback */
    const char *data;   /* canonical */
    size_t data_len;
    json_t *value; /* the same, parsed */
    const char *checksum;
};
/* fault: NULL with a result; FAULT_VERSION_GONE, FAULT_UNAVAILABLE, FAULT_INTERNAL. */
typedef void version_done_fn(struct call *call, const struct fault *fault,
                             const struct version_result *result);

/* wanted: not ahead of the session's, which is borrowed. done is called once, later or from within;
 * the call's version_job is NULL again then. */
void version_job_start(struct call *call, const struct session *session, bool is_hot,
                       struct position wanted, version_done_fn *done);
/* The data of a cold session, at the position that its row tells. */
void version_job_start_cold(struct call *call, const struct session *session,
                            version_done_fn *done);
/* The call is gone; done is not called any more. */
void version_job_forget(struct version_job *job);
