/* Names of keys: built here and nowhere else, so that the layout of contract section 6 is one page.
 * The braces are literal: they put all keys of a session into one slot of a Redis Cluster, which is
 * what lets one script write them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/store.h"

void store_key(enum store_key key, const char *session_id, char ret[static STORE_KEY_CAP]) {
    static const char *const names[] = {
        [STORE_STATE] = "state",
        [STORE_META] = "meta",
        [STORE_DELTAS] = "deltas",
        [STORE_IDEM] = "idem",
        [STORE_IDEM_ORDER] = "idem_order",
        [STORE_DEVICES] = "devices",
        [STORE_PRESENCE] = "presence",
        [STORE_CONFIRMED] = "confirmed",
        [STORE_LOSS] = "loss",
    };
    snprintf(ret, STORE_KEY_CAP, "session:{%s}:%s", session_id, names[key]);
}

void store_key_snapshot(const char *session_id, uint64_t version, char ret[static STORE_KEY_CAP]) {
    snprintf(ret, STORE_KEY_CAP, "session:{%s}:snapshot:%" PRIu64, session_id, version);
}

void store_key_tries(const char *session_id, const char *command_id,
                     char ret[static STORE_KEY_CAP]) {
    snprintf(ret, STORE_KEY_CAP, "session:{%s}:tries:%s", session_id, command_id);
}

void store_key_create_claim(const char *user_id, const char *key_hash,
                            char ret[static STORE_KEY_CAP]) {
    snprintf(ret, STORE_KEY_CAP, "user:{%s}:idem:%s", user_id, key_hash);
}

void store_key_instance(const char *instance, char ret[static STORE_KEY_CAP]) {
    snprintf(ret, STORE_KEY_CAP, "instance:{%s}", instance);
}

void store_key_instance_sessions(const char *instance, char ret[static STORE_KEY_CAP]) {
    snprintf(ret, STORE_KEY_CAP, "instance:{%s}:sessions", instance);
}

void store_key_attention_slot(unsigned slot, char ret[static STORE_KEY_CAP]) {
    snprintf(ret, STORE_KEY_CAP, "attention:{%u}", slot);
}

void store_key_memory(unsigned number, char ret[static STORE_KEY_CAP]) {
    snprintf(ret, STORE_KEY_CAP, "store:{%u}:memory", number);
}

void store_key_bucket(enum store_bucket bucket, const char *who, char ret[static STORE_KEY_CAP]) {
    static const char *const names[] = {
        [STORE_BUCKET_USER] = "user", [STORE_BUCKET_ADDRESS] = "address"};
    snprintf(ret, STORE_KEY_CAP, "rate:{%s:%s}", names[bucket], who);
}

void store_key_handoff(const char *who, const char *tail, char ret[static STORE_KEY_CAP]) {
    snprintf(ret, STORE_KEY_CAP, "handoff:{%s}%s", who, tail);
}
