/* What the calls about handoff codes have of their own. */
#pragma once

#include "base/network.h"
#include "common/auth.h"
#include "common/store_codes.h"
#include "services/session_api/handoff_code.h"

struct api;
struct call;

/* In which a code is shown; by call->media_type. */
enum { HANDOFF_SVG, HANDOFF_PNG, HANDOFF_TEXT, HANDOFF_N_MEDIA_TYPES };
extern const char *const handoff_media_types[HANDOFF_N_MEDIA_TYPES];

enum handoff_outcome {
    HANDOFF_ISSUED,
    HANDOFF_REDEEMED,
    HANDOFF_WRONG,
    HANDOFF_LIMITED,
    HANDOFF_N_OUTCOMES
};

struct handoff {
    char code[HANDOFF_CODE_LEN + 1]; /* of one that is made here */
    char hash[HASH_HEX_LEN + 1];
    int64_t ttl_ms;

    /* what a code offers: the new one, or the one that is redeemed */
    struct store_code offer;

    /* redeeming */
    struct principal asker; /* who does, while the session is read as who offered it */
    char device_id[SESSION_DEVICE_MAX + 1];
    char address[ADDRESS_CAP];
    int64_t try_moment;
};

void handoff_init(struct api *api);
/* Of a call about codes: they let in whoever has them, and so does the token that one becomes. */
void handoff_begin(struct call *call);
void handoff_count(struct call *call, enum handoff_outcome outcome);
