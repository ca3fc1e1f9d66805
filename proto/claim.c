/* A token's claims; see claim.h. */
#include "proto/claim.h"

#include <stdio.h>
#include <string.h>

#include "base/base64url.h"
#include "base/buf.h"
#include "proto/session.h"
#include "proto/text.h"

bool claim_device(const char *token, size_t cap, char ret[]) {
    const char *begin = strchr(token, '.'), *end = begin ? strchr(begin + 1, '.') : NULL;
    json_auto_t *claims = NULL;
    if (!end)
        return false;
    size_t len = (size_t)(end - begin - 1);
    _cleanup_(freep) char *payload = must_malloc(len + 1);
    ssize_t n = base64url_decode(begin + 1, len, payload);
    if (n < 0 || text_parse(payload, (size_t)n, &claims, NULL) != 0)
        return false;
    const char *device = json_string_value(json_object_get(claims, "device_id"));
    if (!device || !session_device_is_valid(device, strlen(device)) || strlen(device) >= cap)
        return false;
    memcpy(ret, device, strlen(device) + 1);
    return true;
}
