/* `handoff token check`: by auth_verify, which judges a token for the services. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/timestamp.h"
#include "proto/command.h"
#include "tools/handoff/keys.h"
#include "tools/handoff/token_parts.h"

#define FILE_MAX 16384 /* over 8192 bytes a token is refused, and that is said */

/* The file's one word; a Bearer before it is passed over. False: it cannot be read. */
static bool read_token(const char *path, char ret[static FILE_MAX + 1], char **ret_token) {
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    if (!file)
        return false;
    size_t len = fread(ret, 1, FILE_MAX, file);
    bool is_read = !ferror(file);
    if (!is_stdin)
        fclose(file);
    ret[len] = '\0';
    char *token = ret + strspn(ret, " \t\r\n");
    if (strncasecmp(token, "Bearer ", 7) == 0)
        token += 7 + strspn(token + 7, " ");
    token[strcspn(token, " \t\r\n")] = '\0';
    *ret_token = token;
    return is_read;
}

static const struct {
    enum command_right right;
    const char *name;
} scopes[] = {{COMMAND_READ, "sessions:read"},
              {COMMAND_WRITE, "sessions:write"},
              {COMMAND_ADMIN, "sessions:admin"}};

static void put_scopes(struct buf *out, unsigned rights, const char *quote, const char *separator) {
    bool has_any = false;
    for (size_t i = 0; i < N_ELEMENTS(scopes); i++) {
        if (!(rights & scopes[i].right))
            continue;
        buf_printf(out, "%s%s%s%s", has_any ? separator : "", quote, scopes[i].name, quote);
        has_any = true;
    }
}

static void put_or_null(struct buf *out, const char *name, const char *text) {
    buf_printf(out, ",\"%s\":", name);
    if (*text)
        buf_puts_json(out, text);
    else
        buf_puts(out, "null");
}

static void print_json(const struct principal *p, const char *until) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    buf_printf(&out, "{\"valid\":true,\"userId\":\"%s\",\"scope\":[", p->user_id);
    put_scopes(&out, p->rights, "\"", ",");
    buf_puts(&out, "]");
    put_or_null(&out, "deviceId", p->device_id);
    put_or_null(&out, "sessionId", p->session_id);
    buf_printf(&out, ",\"isSessionToken\":%s,\"expiresAt\":\"%s\"}",
               p->is_session_token ? "true" : "false", until);
    puts(out.data);
}

static void print_taken(const struct principal *p, int64_t now_s, bool json) {
    char until[TIMESTAMP_LEN + 1];
    _cleanup_(buf_done) struct buf rights = BUF_NULL;
    timestamp_print(p->expires_at * 1000, until);
    if (json) {
        print_json(p, until);
        return;
    }
    put_scopes(&rights, p->rights, "", " ");
    printf("valid%s\n"
           "user     %s\n"
           "scope    %s\n"
           "device   %s\n"
           "session  %s\n"
           "until    %s (%" PRId64 " s from now)\n",
           p->is_session_token ? ": a session token" : "", p->user_id,
           rights.len ? rights.data : "none", *p->device_id ? p->device_id : "any",
           *p->session_id ? p->session_id : "any", until, p->expires_at - now_s);
}

static int tell_refused(const char *code, const char *why, bool json) {
    _cleanup_(buf_done) struct buf out = BUF_NULL;
    if (json) {
        buf_printf(&out, "{\"valid\":false,\"code\":\"%s\",\"reason\":", code);
        buf_puts_json(&out, why);
        printf("%s}\n", out.data);
    } else {
        printf("refused: %s\nwhy      %s\n", code, why);
    }
    return 1;
}

static int judge(struct auth *auth, const char *token, bool json) {
    struct principal p;
    struct fault fault = {.code = FAULT_NONE};
    int64_t now_s = timestamp_wall_ms() / 1000;
    if (!*token)
        return tell_refused(fault_wire_code(FAULT_UNAUTHENTICATED), "there is no token in it",
                            json);
    int r = auth_verify(auth, token, strlen(token), now_s, &p, &fault);
    if (r != 0)
        return tell_refused(fault_wire_code(fault.code), fault.detail, json);
    print_taken(&p, now_s, json);
    return 0;
}

int token_check(const char *path, bool json, const struct config *config) {
    _cleanup_(auth_freep) struct auth *auth = NULL;
    _cleanup_(freep) char *error = NULL;
    char text[FILE_MAX + 1], *token = NULL;
    if (!read_token(path, text, &token)) {
        fprintf(stderr, "handoff: %s: %s\n", path, strerror(errno));
        return 1;
    }
    if (keys_load(&auth, config, &error)) {
        fprintf(stderr, "handoff: %s\n", error);
        return 2;
    }
    if (keys_fetch(auth, config, &error)) {
        fprintf(stderr, "handoff: the identity provider: %s\n", error);
        return 1;
    }
    int code = judge(auth, token, json);
    explicit_bzero(text, sizeof(text));
    return fflush(stdout) == 0 ? code : 1;
}
