/* The client's store in files. The input is a session's file as a crash, or another program, may
 * have left it. What is read of it is there again after it was closed; so is what is put then, and
 * what is taken out is not. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clients/c/handoff.h"
#include "fuzz_json.h"

#define SESSION "0197a1b2-0000-7000-8000-000000000001"
#define MAX_KEPT 256

struct kept {
    char *keys[MAX_KEPT], *texts[MAX_KEPT];
    size_t n;
};

static void keep(void *arg, const char *key, const char *text) {
    struct kept *k = arg;
    if (k->n == MAX_KEPT)
        return;
    k->keys[k->n] = must_strdup(key);
    k->texts[k->n++] = must_strdup(text);
}

static const char *find(const struct kept *k, const char *key) {
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->keys[i], key) == 0)
            return k->texts[i];
    return NULL;
}

static void done(struct kept *k) {
    for (size_t i = 0; i < k->n; i++) {
        free(k->keys[i]);
        free(k->texts[i]);
    }
    *k = (struct kept){0};
}

static void load(const char *folder, struct handoff_store **ret, struct kept *kept) {
    struct handoff_store *store = handoff_file_store_new(folder);
    must_hold(store != NULL);
    must_hold(store->load(store->user, SESSION, keep, kept) == 0);
    *ret = store;
}

static void must_be_same(const struct kept *a, const struct kept *b) {
    must_hold(a->n == b->n);
    for (size_t i = 0; i < a->n; i++)
        must_hold(strcmp(a->keys[i], b->keys[i]) == 0 && strcmp(a->texts[i], b->texts[i]) == 0);
}

static void check(const char *folder) {
    struct kept first = {0}, again = {0}, last = {0};
    struct handoff_store *store;
    load(folder, &store, &first);
    handoff_file_store_free(store);
    load(folder, &store, &again);
    must_be_same(&first, &again);
    if (first.n > 0)
        must_hold(store->remove(store->user, SESSION, first.keys[0]) == 0);
    must_hold(store->put(store->user, SESSION, "new \n\"key\"", "{\"a\":1}") == 0);
    must_hold(store->put(store->user, "no session", "k", "{}") < 0);
    handoff_file_store_free(store);
    load(folder, &store, &last);
    const char *text = find(&last, "new \n\"key\"");
    must_hold(text && strcmp(text, "{\"a\":1}") == 0);
    must_hold(first.n == 0 || strcmp(first.keys[0], "new \n\"key\"") == 0 ||
              !find(&last, first.keys[0]));
    handoff_file_store_free(store);
    done(&first);
    done(&again);
    done(&last);
}

static const char *new_folder(void) {
    static char folder[] = "/dev/shm/handoff-fuzz-XXXXXX";
    if (strstr(folder, "XXXXXX"))
        must_hold(mkdtemp(folder) != NULL);
    return folder;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *folder = new_folder();
    struct buf path = BUF_NULL;
    buf_printf(&path, "%s/%s.log", folder, SESSION);
    int fd = open(path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must_hold(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
    check(folder);
    unlink(path.data);
    buf_done(&path);
    return 0;
}
