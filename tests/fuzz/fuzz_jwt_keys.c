/* The keys that tokens are verified with, as an operator gave them. Input: HANDOFF_JWT_ALGORITHMS,
 * a secret, an Authorization header, a line each; then the files of HANDOFF_JWT_KEYS, each behind a
 * line "@name". Keys that are taken are of the kinds that are allowed, each under its file's name;
 * what is refused says why. */
#include <sys/stat.h>
#include <unistd.h>

#include "common/auth_lookup.h"
#include "common/auth_private.h"
#include "common/jwks.h"
#include "fuzz_json.h"

#define MAX_FILES 8

static const char *folder(void) {
    static char path[] = "/dev/shm/handoff-fuzz-keys-XXXXXX";
    if (strstr(path, "XXXXXX"))
        must_hold(mkdtemp(path) != NULL);
    return path;
}

static bool is_name(const char *name) {
    return *name && strlen(name) < 64 && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static void write_file(const char *name, const char *text, size_t len) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder(), name);
    FILE *file = fopen(path, "we");
    must_hold(file && fwrite(text, 1, len, file) == len && fclose(file) == 0);
}

static void remove_file(const char *name) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder(), name);
    unlink(path);
}

/* Names of the files that were written; borrowed from the text, which is changed. */
static size_t write_files(char *at, const char *end, const char *ret[static MAX_FILES]) {
    size_t n = 0;
    while (at && at < end && *at == '@' && n < MAX_FILES) {
        char *line = memchr(at, '\n', (size_t)(end - at));
        if (!line)
            break;
        *line = '\0';
        char *next = memmem(line + 1, (size_t)(end - line - 1), "\n@", 2);
        const char *stop = next ? next + 1 : end;
        if (is_name(at + 1)) {
            write_file(at + 1, line + 1, (size_t)(stop - line - 1));
            ret[n++] = at + 1;
        }
        at = next ? next + 1 : NULL;
    }
    return n;
}

static int64_t ask_soon(void *arg) {
    (void)arg;
    return 5;
}

/* With a provider, whose keys have not come: an own one is found, all others are waited for. */
static void check_with_provider(const struct auth_keys *own) {
    struct jwks *j = jwks_new(3600000);
    struct fault f = {0};
    const struct auth_key *found = NULL;
    jwks_on_miss(j, ask_soon, NULL);
    must_hold(auth_lookup(own, j, "/", &found, &f) == FAULT_UNAVAILABLE && f.retry_after_ms == 5);
    int r = auth_lookup(own, j, NULL, &found, &f);
    must_hold(r == (own->n == 1 ? 0 : FAULT_UNAVAILABLE));
    if (own->n > 0)
        must_hold(auth_lookup(own, j, own->keys[0].kid, &found, &f) == 0);
    jwks_free(j);
}

static void check_keys(struct auth *a) {
    struct fault f = {0};
    const struct auth_key *found = NULL;
    for (size_t i = 0; i < a->keys.n; i++) {
        const struct auth_key *key = &a->keys.keys[i];
        struct principal who = {0};
        must_hold(key->algorithm == AUTH_RS256 || key->algorithm == AUTH_ES256);
        must_hold(strstr(key->pem, "BEGIN PUBLIC KEY") && !strchr(key->kid, '/'));
        must_hold(auth_lookup(&a->keys, NULL, key->kid, &found, &f) == 0 && found->pem[0]);
        memcpy(who.key_id, key->id, sizeof(who.key_id));
        must_hold(auth_has_key_of(a, &who));
    }
    must_hold(auth_lookup(&a->keys, NULL, "/", &found, &f) == FAULT_UNAUTHENTICATED);
    int r = auth_lookup(&a->keys, NULL, NULL, &found, &f);
    must_hold((r == 0) == (a->keys.n == 1));
    must_hold(!a->allowed[AUTH_HS256] || a->secrets[0].text);
    check_with_provider(&a->keys);
}

/* Keys that give way to the same ones lose none; to none, all. */
static void check_change(struct auth *a, struct auth *same) {
    size_t n = auth_n_keys(a);
    must_hold(auth_take(a, same) == 0 && auth_n_keys(a) == n && auth_n_keys(same) == n);
    struct auth none = {.cache = NULL};
    must_hold(auth_take(a, &none) == n && auth_n_keys(a) == 0);
    must_hold(auth_take(a, &none) == 0 && auth_n_keys(a) == n);
}

static void check_bearer(const char *header) {
    size_t len = 0;
    const char *token = auth_bearer(header, &len);
    must_hold(!token || (token >= header && len > 0 && token + len <= header + strlen(header) &&
                         !memchr(token, ' ', len)));
}

static void load(const char *algorithms, const char *secret) {
    struct config c = {.service = CONFIG_WS_FANOUT,
                       .jwt_issuer = (char[]){""},
                       .jwt_audience = (char[]){""},
                       .jwt_session_claim = (char[]){"session"},
                       .jwt_secret_previous = (char[]){""},
                       .jwks_url = (char[]){""},
                       .session_token_key = (char[]){""},
                       .session_token_public_keys = (char[]){""}};
    struct auth *a = NULL, *same = NULL;
    char *error = NULL;
    c.jwt_algorithms = (char *)(uintptr_t)algorithms;
    c.jwt_secret = (char *)(uintptr_t)secret;
    c.jwt_keys = (char *)(uintptr_t)folder();
    int r = auth_new(&a, &c, &error);
    must_hold((r == 0) == (a != NULL) && (r == 0) == (error == NULL));
    must_hold(!error || (error[0] && (strlen(secret) < 8 || !strstr(error, secret))));
    if (r == 0) {
        check_keys(a);
        must_hold(auth_new(&same, &c, &error) == 0);
        check_change(a, same);
    }
    free(error);
    auth_free(a);
    auth_free(same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *names[MAX_FILES];
    char *text = fuzz_text(data, size), *at = text;
    const char *algorithms = strsep(&at, "\n"), *secret = at ? strsep(&at, "\n") : "";
    check_bearer(at ? strsep(&at, "\n") : "");
    size_t n = write_files(at, text + size, names);
    load(algorithms, secret);
    for (size_t i = 0; i < n; i++)
        remove_file(names[i]);
    free(text);
    return 0;
}
