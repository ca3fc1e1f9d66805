/* Input: a URL, a newline, what the CA file holds. No URL is taken that could send keys over a line
 * somebody else is on, or that has a secret in it; a file is taken that holds a certificate. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/fetch.h"
#include "common/jwks_url.h"
#include "fuzz_json.h"

static void check(const char *url, const char *ca_file) {
    char *error = NULL;
    if (jwks_url_check(url, ca_file, &error) != 0) {
        must_hold(error && error[0]);
        free(error);
        return;
    }
    const char *fragment = strchr(url, '#');
    must_hold(!error && (!fragment || !fragment[1]));
    bool is_https = strncasecmp(url, "https:", 6) == 0;
    must_hold(is_https || jwks_url_is_loopback(url));
}

/* Of a URL that is taken the whole is one that is taken, and stays as it is. */
static void check_with_path(const char *url) {
    char *whole = NULL, *again = NULL;
    if (fetch_url_with_path(url, "/v1/traces", &whole) != 0) {
        must_hold(!whole);
        return;
    }
    must_hold(strncasecmp(whole, "http", 4) == 0);
    must_hold(fetch_url_with_path(whole, "/other", &again) == 0 && strcmp(whole, again) == 0);
    free(whole);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char path[32];
    static int file = -1;
    char *url = fuzz_text(data, size), *newline = strchr(url, '\n');
    size_t at = newline ? (size_t)(newline + 1 - url) : size;
    if (file < 0) {
        file = memfd_create("ca", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    }
    must_hold(ftruncate(file, 0) == 0 &&
              pwrite(file, data + at, size - at, 0) == (ssize_t)(size - at));
    if (newline)
        *newline = '\0';
    check(url, newline ? path : "");
    check(url, "");
    check_with_path(url);
    free(url);
    return 0;
}
