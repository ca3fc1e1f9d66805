/* Fuzzes the readers of session tokens' key files: any bytes as a file of public keys, and as one
 * of a private key. What is taken signs what libcrypto verifies, and is found by its thumbprint. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/session_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct session_keys *k) {
    if (k->n < 1 || k->n > SESSION_KEYS_MAX)
        abort();
    for (size_t i = 0; i < k->n; i++)
        if (strlen(k->keys[i].kid) != SESSION_KEY_KID_LEN ||
            session_keys_find(k, k->keys[i].kid) != &k->keys[i] ||
            session_key_verify(&k->keys[i], "x", 1, (uint8_t[SESSION_KEY_SIGNATURE]){0}))
            abort();
    struct buf set = BUF_NULL;
    session_keys_print_set(k, &set);
    buf_done(&set);
}

static void load(const char *private_path, const char *public_path) {
    struct session_keys k = {0};
    char *error = NULL;
    uint8_t signature[SESSION_KEY_SIGNATURE];
    if (session_keys_load(&k, private_path, public_path, true, &error) < 0) {
        if (!error || k.n || k.private_key)
            abort();
        free(error);
        return;
    }
    check(&k);
    if (session_keys_sign(&k, "x", 1, signature) != (*private_path ? 0 : -EOPNOTSUPP))
        abort();
    if (*private_path && !session_key_verify(&k.keys[k.signer], "x", 1, signature))
        abort();
    session_keys_done(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char path[32];
    static int file = -1;
    if (file < 0) {
        file = memfd_create("keys", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    }
    if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != (ssize_t)size)
        abort();
    load("", path);
    load(path, "");
    return 0;
}
