/* Session tokens; see session_token.h. No key can be configured: there are none. */
#include "common/session_token.h"

#include <errno.h>

bool session_token_can_sign(const struct auth *a) {
    (void)a;
    return false;
}

int session_token_new(const struct auth *a, const char *user_id, const char *session_id,
                      const char *device_id, int64_t now_s, char **ret_token,
                      int64_t *ret_expires_at_s) {
    (void)a, (void)user_id, (void)session_id, (void)device_id, (void)now_s;
    (void)ret_token, (void)ret_expires_at_s;
    return -EOPNOTSUPP;
}
