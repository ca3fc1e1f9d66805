/* Ids: uuid_is takes what lowering leaves as it is, and a name in a namespace makes always the same
 * id, as openssl hashes it. What a device, a person in a clock or an idempotency hash may be called
 * is what its alphabet says. */
#include <openssl/sha.h>
#include <stdio.h>
#include <strings.h>

#include "base/uuid.h"
#include "fuzz_json.h"
#include "proto/clock.h"
#include "proto/session.h"

#define NAMESPACE "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

static void check_uuid(const char *text, size_t len) {
    char lower[UUID_LEN + 1] = "";
    bool is_any = uuid_lower(text, len, lower);
    must_hold(is_any || !lower[0]);
    must_hold(!is_any || (uuid_is(lower, UUID_LEN) && strcasecmp(lower, text) == 0));
    must_hold(uuid_is(text, len) == (is_any && memcmp(text, lower, UUID_LEN) == 0));
}

static void check_named(const uint8_t *data, size_t size) {
    char id[UUID_LEN + 1], hex[3];
    uint8_t digest[SHA_DIGEST_LENGTH];
    static const uint8_t space[] = {0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1,
                                    0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};
    uint8_t *input = must_alloc(sizeof(space) + size);
    memcpy(input, space, sizeof(space));
    if (size > 0)
        memcpy(input + sizeof(space), data, size);
    SHA1(input, sizeof(space) + size, digest);
    uuid_v5(NAMESPACE, input + sizeof(space), size, id);
    must_hold(uuid_is(id, strlen(id)) && id[14] == '5' && strchr("89ab", id[19]));
    for (size_t i = 0; i < 6; i++) { /* before the version's digit */
        static const size_t at[] = {0, 2, 4, 6, 9, 11};
        snprintf(hex, sizeof(hex), "%02x", digest[i]);
        must_hold(memcmp(id + at[i], hex, 2) == 0);
    }
    free(input);
}

static bool has_only(const char *text, size_t len, const char *more) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_alphanumeric && (!c || !strchr(more, c)))
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_text(data, size);
    char id[UUID_LEN + 1];
    check_uuid(text, size);
    check_named(data, size);
    bool is_path = strcmp(text, ".") == 0 || strcmp(text, "..") == 0;
    bool is_plain = has_only(text, size, "._:-") && !is_path;
    must_hold(session_device_is_valid(text, size) ==
              (is_plain && size >= 1 && size <= SESSION_DEVICE_MAX));
    must_hold(clock_id_is_valid(text, size) == (is_plain && size >= 1 && size <= CLOCK_ID_MAX));
    uuid_v4(id);
    must_hold(uuid_is(id, strlen(id)) && id[14] == '4');
    uuid_v7((int64_t)size, id);
    must_hold(uuid_is(id, strlen(id)) && id[14] == '7');
    free(text);
    return 0;
}
