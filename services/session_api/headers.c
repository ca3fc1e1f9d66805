/* Request headers; see headers.h. */
#include "services/session_api/headers.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/text.h"

static const char *skip_blanks(const char *p) {
    return p + strspn(p, " \t");
}

/* Whether text[0..len), blanks around it aside, is `word` in any case. */
static bool is_word(const char *text, size_t len, const char *word) {
    while (len > 0 && (*text == ' ' || *text == '\t'))
        text++, len--;
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

/* ---- Accept ---- */

/* The weight in thousandths in a range's parameters (";q=0.5"); 1000 without one, 0 for a bad one.
 */
static int read_weight(const char *parameters, size_t len) {
    const char *end = parameters + len;
    for (const char *p = parameters; p < end; p += strcspn(p, ";,")) {
        p = skip_blanks(p + 1); /* past the semicolon */
        if ((*p != 'q' && *p != 'Q') || p[1] != '=')
            continue;
        p += 2;
        if (*p != '0' && *p != '1')
            return 0;
        int weight = (*p++ - '0') * 1000;
        if (*p == '.')
            p++;
        for (int unit = 100; unit > 0 && *p >= '0' && *p <= '9'; unit /= 10)
            weight += (*p++ - '0') * unit;
        return weight > 1000 ? 0 : weight;
    }
    return 1000;
}

/* How closely a range fits the type: 2 exactly, 1 by its half, 0 as any does, -1 not. */
static int fit(const char *range, size_t len, const char *type) {
    char half[64];
    int half_len = (int)strcspn(type, "/") + 1;
    if (is_word(range, len, type))
        return 2;
    snprintf(half, sizeof(half), "%.*s*", half_len, type);
    return is_word(range, len, half) ? 1 : is_word(range, len, "*/*") ? 0 : -1;
}

static int weight_of(const char *accept, const char *type) {
    int best = -1, weight = 0;
    for (const char *p = accept; *p;) {
        size_t len = strcspn(p, ",");
        size_t name_len = strcspn(p, ";,");
        int fits = fit(p, name_len, type);
        if (fits > best) {
            best = fits;
            weight = read_weight(p + name_len, len - name_len);
        }
        p += len;
        if (*p == ',')
            p++;
    }
    return weight;
}

int headers_accept(const char *accept, const char *const *types, size_t n) {
    int best = -1, best_weight = 0;
    if (!accept || !*skip_blanks(accept))
        return 0;
    for (int i = 0; i < (int)n; i++) {
        int weight = weight_of(accept, types[i]);
        if (weight > best_weight) {
            best = i;
            best_weight = weight;
        }
    }
    return best;
}

bool headers_accept_json(const char *accept) {
    static const char *const json[] = {"application/json"};
    return headers_accept(accept, json, 1) == 0;
}

/* ---- entity tags ---- */

struct tag {
    const char *text; /* between the quotes */
    size_t len;
    bool is_weak;
};

/* Takes one tag off *p; false when there is none. */
static bool take_tag(const char **p, struct tag *ret) {
    const char *at = skip_blanks(*p);
    ret->is_weak = strncmp(at, "W/", 2) == 0;
    if (ret->is_weak)
        at += 2;
    if (*at++ != '"')
        return false;
    const char *end = strchr(at, '"');
    if (!end)
        return false;
    ret->text = at;
    ret->len = (size_t)(end - at);
    for (; at < end; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f)
            return false;
    *p = skip_blanks(end + 1);
    return true;
}

/* Digits without a leading zero; moves *p behind them. */
static bool take_number(const char **p, const char *end, uint64_t *ret) {
    const char *at = *p;
    uint64_t n = 0;
    if (at == end || *at < '1' || *at > '9')
        return false;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        if ((n = n * 10 + (uint64_t)(*at - '0')) > TEXT_INTEGER_MAX)
            return false;
    *p = at;
    *ret = n;
    return true;
}

/* The position that has this tag; one that no session has when there is none. */
static struct position tag_position(const struct tag *tag) {
    static const struct position none = {TEXT_INTEGER_MAX, TEXT_INTEGER_MAX};
    struct position position = {.epoch = 1};
    const char *p = tag->text, *end = tag->text + tag->len;
    if (!take_number(&p, end, &position.version))
        return none;
    if (p < end && *p == '.') {
        p++;
        if (!take_number(&p, end, &position.epoch) || position.epoch == 1)
            return none;
    }
    return p == end ? position : none;
}

static int refuse_if_match(struct fault *f, const char *why) {
    return (int)fault_set(f, FAULT_INVALID_REQUEST, "If-Match", "If-Match %s", why);
}

int headers_if_match(const char *value, struct command *c, struct fault *f) {
    if (is_word(value, strlen(value), "*")) {
        c->if_match_any = true;
        return 0;
    }
    size_t n = 0;
    for (const char *p = value;;) {
        struct tag tag;
        p = skip_blanks(p);
        if (!take_tag(&p, &tag) || (*p && *p != ','))
            return refuse_if_match(f, "must be * or a list of entity tags such as \"42\"");
        if (tag.is_weak)
            return refuse_if_match(f, "compares strongly: a weak tag can never match");
        if (n == COMMAND_MAX_IF_MATCH)
            return refuse_if_match(f, "has more than 16 entity tags");
        c->if_match[n++] = tag_position(&tag);
        if (!*p++)
            break;
    }
    c->n_if_match = n;
    return 0;
}

typedef bool tag_fits_fn(const struct tag *tag, const void *arg);

static bool is_none_match(const char *value, tag_fits_fn *fits, const void *arg) {
    if (!value)
        return false;
    if (is_word(value, strlen(value), "*"))
        return true;
    struct tag tag;
    for (const char *p = value; take_tag(&p, &tag); p++) {
        if (fits(&tag, arg))
            return true;
        if (*p != ',')
            break;
    }
    return false;
}

static bool has_position(const struct tag *tag, const void *position) {
    return position_equal(tag_position(tag), *(const struct position *)position);
}

bool headers_if_none_match(const char *value, struct position position) {
    return is_none_match(value, has_position, &position);
}

static bool has_text(const struct tag *tag, const void *text) {
    const char *quoted = text;
    return strlen(quoted) == tag->len + 2 && memcmp(quoted + 1, tag->text, tag->len) == 0;
}

bool headers_if_none_match_tag(const char *value, const char *tag) {
    return is_none_match(value, has_text, tag);
}

/* ---- others ---- */

static int refuse_key(struct fault *f) {
    return (int)fault_set(f, FAULT_INVALID_REQUEST, "Idempotency-Key",
                          "Idempotency-Key must have 1 to %d printable characters, bare or quoted",
                          COMMAND_KEY_MAX);
}

int headers_idempotency_key(const char *value, char ret[static COMMAND_KEY_MAX + 1],
                            struct fault *f) {
    char key[COMMAND_KEY_MAX + 1];
    size_t n = 0;
    const char *p = skip_blanks(value);
    bool is_quoted = *p == '"';
    if (is_quoted)
        p++;
    for (; *p && !(is_quoted && *p == '"'); p++) {
        if (is_quoted && *p == '\\' && (p[1] == '"' || p[1] == '\\'))
            p++;
        if (n == COMMAND_KEY_MAX)
            return refuse_key(f);
        key[n++] = *p;
    }
    if (is_quoted && (*p != '"' || *skip_blanks(p + 1)))
        return refuse_key(f);
    while (!is_quoted && n > 0 && (key[n - 1] == ' ' || key[n - 1] == '\t'))
        n--;
    key[n] = '\0';
    if (n == 0 || !text_is_printable(key, strlen(key)))
        return refuse_key(f);
    memcpy(ret, key, n + 1);
    return 0;
}

bool headers_prefer_representation(const char *prefer) {
    if (!prefer)
        return false;
    for (const char *p = prefer; *p;) {
        size_t len = strcspn(p, ",;");
        const char *equals = memchr(p, '=', len);
        if (equals && is_word(p, (size_t)(equals - p), "return")) {
            size_t value_len = len - (size_t)(equals + 1 - p);
            return is_word(equals + 1, value_len, "representation") ||
                   is_word(equals + 1, value_len, "\"representation\"");
        }
        p += strcspn(p, ","); /* parameters of a preference are nothing that we know */
        if (*p)
            p++;
    }
    return false;
}

enum media_type headers_media_type(const char *content_type) {
    static const struct {
        const char *name;
        enum media_type type;
    } known[] = {{"application/json", MEDIA_JSON},
                 {"application/json-patch+json", MEDIA_JSON_PATCH},
                 {"application/merge-patch+json", MEDIA_MERGE_PATCH}};
    if (!content_type)
        return MEDIA_OTHER;
    size_t len = strcspn(content_type, ";");
    const char *charset = strcasestr(content_type + len, "charset=");
    if (charset) {
        charset += strlen("charset=");
        size_t charset_len = strcspn(charset, ";");
        if (!is_word(charset, charset_len, "utf-8") && !is_word(charset, charset_len, "\"utf-8\""))
            return MEDIA_OTHER;
    }
    for (size_t i = 0; i < N_ELEMENTS(known); i++)
        if (is_word(content_type, len, known[i].name))
            return known[i].type;
    return MEDIA_OTHER;
}
