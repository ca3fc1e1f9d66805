/* Headers with a grammar of their own: whatever is taken lies within its bounds. */
#include "fuzz_json.h"
#include "proto/problem.h"
#include "services/session_api/headers.h"

static void check_if_match(const char *text) {
    struct command c = {0};
    struct fault f = {0};
    if (headers_if_match(text, &c, &f)) {
        must_hold(f.code == FAULT_INVALID_REQUEST && f.detail[0]);
        return;
    }
    must_hold(c.if_match_any || (c.n_if_match >= 1 && c.n_if_match <= COMMAND_MAX_IF_MATCH));
    for (size_t i = 0; i < c.n_if_match; i++) {
        must_hold(c.if_match[i].version >= 1 && c.if_match[i].epoch >= 1);
        must_hold(headers_if_none_match(text, c.if_match[i]));
    }
}

static void check_key(const char *text) {
    char key[COMMAND_KEY_MAX + 1], again[COMMAND_KEY_MAX + 1];
    struct buf quoted = BUF_NULL;
    struct fault f = {0};
    if (headers_idempotency_key(text, key, &f)) {
        must_hold(f.code == FAULT_INVALID_REQUEST && f.detail[0]);
        return;
    }
    must_hold(key[0]);
    buf_putc(&quoted, '"');
    for (const char *p = key; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_putc(&quoted, '\\');
        buf_putc(&quoted, *p);
    }
    buf_puts(&quoted, "\"");
    must_hold(headers_idempotency_key(quoted.data, again, &f) == 0 && strcmp(key, again) == 0);
    buf_done(&quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const types[] = {"image/svg+xml", "image/png", "text/plain"};
    char *text = must_alloc(size + 1);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    check_if_match(text);
    check_key(text);
    (void)headers_if_none_match(text, (struct position){42, 1});
    (void)headers_if_none_match_tag(text, "\"ab\"");
    int type = headers_accept(text, types, N_ELEMENTS(types));
    must_hold(type >= -1 && type < (int)N_ELEMENTS(types));
    (void)headers_accept_json(text);
    (void)headers_prefer_representation(text);
    (void)headers_media_type(text);
    (void)problem_request_id_is_valid(text);
    free(text);
    return 0;
}
