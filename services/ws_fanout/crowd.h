/* Who came to a session and left it: device_joined and device_left of one room. With many devices
 * they are gathered, a device's coming and going between two frames cancels out, and one frame
 * tells the rest. Pure. Contract section 4. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define CROWD_MIN_DEVICES 50 /* up to here each event is passed on as it comes */
#define CROWD_MAX_IDS 1000   /* of a frame */

struct crowd;

struct crowd *crowd_new(void);
struct crowd *crowd_free(struct crowd *c);
DEFINE_CLEANUP(struct crowd *, crowd_free)

/* Whether an event of that message id came before, among the last 256; it is noted. "" never did.
 */
bool crowd_is_double(struct crowd *c, const char *message_id);
/* How many devices are in the session, as an event told. */
void crowd_set_n_devices(struct crowd *c, uint64_t n_devices);
/* Whether the next event is to be gathered: there are many devices, or some wait to be told. */
bool crowd_gathers(const struct crowd *c);
void crowd_add(struct crowd *c, const char *device_id, bool joined);
/* Prints the frame of up to CROWD_MAX_IDS devices that wait, and forgets them. False: none. */
bool crowd_print(struct crowd *c, const char *session_id, struct buf *out);
/* Forgets those who wait: nobody is there to be told. */
void crowd_clear(struct crowd *c);
size_t crowd_n_waiting(const struct crowd *c);
