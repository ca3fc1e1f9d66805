/* What a device may be called: of session.c on its own, since the client for C has it, too. */
#include "proto/session.h"

static bool is_device_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == ':' || c == '-';
}

bool session_device_is_valid(const char *device, size_t len) {
    if (len < 1 || len > SESSION_DEVICE_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_device_character(device[i]))
            return false;
    return !(device[0] == '.' && (len == 1 || (len == 2 && device[1] == '.')));
}
