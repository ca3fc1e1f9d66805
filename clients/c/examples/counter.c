/* A number that counts right on many devices: each Enter adds one, wherever it is pressed.
 *
 *     counter ws://localhost:8081 SESSION <token   (the first line is the token; then Enter, Enter
 * …)
 */
#include <handoff.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char token[8200];

static void give_token(struct handoff *h, void *user) {
    (void)user;
    handoff_set_token(h, token); /* an app asks its own server for a fresh one here */
}

static void show(struct handoff_session *s, void *user, enum handoff_source source,
                 const struct handoff_event *event) {
    (void)user, (void)source, (void)event;
    printf("%s  (%zu unsent)\n", handoff_session_data(s), handoff_session_sync(s).unsent);
}

static void lost(struct handoff_session *s, void *user, const struct handoff_error *error) {
    (void)s;
    fprintf(stderr, "%s: %s\n", error->code, error->reason);
    *(bool *)user = true;
}

/* Called again when another device was quicker, with what there is then. */
static json_t *add_one(void *user, json_t *data) {
    (void)user;
    json_int_t n = json_integer_value(json_object_get(data, "count"));
    json_object_set_new(data, "count", json_integer(n + 1));
    return data;
}

int main(int argc, char **argv) {
    struct handoff_error error = {.code = "usage",
                                  .reason = "counter URL SESSION, a token on stdin"};
    struct handoff_options options = {
        .size = sizeof(options), .url = argc == 3 ? argv[1] : NULL, .token = give_token};
    struct handoff_events events = {.size = sizeof(events), .change = show, .lost = lost};
    setvbuf(stdin, NULL, _IONBF, 0); /* what follows the token is read by read */
    bool is_over = argc != 3 || !fgets(token, sizeof(token), stdin);
    token[strcspn(token, "\n")] = '\0';
    struct handoff *h = is_over ? NULL : handoff_new(&options, &error);
    struct handoff_session *s = h ? handoff_open(h, argv[2], &events, &is_over, &error) : NULL;
    if (!s)
        fprintf(stderr, "%s: %s\n", error.code, error.reason);
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char keys[64];
    while (s && !is_over && handoff_run(h, 20) == 0) {
        bool is_synced = handoff_session_sync(s).state == HANDOFF_SYNCED;
        ssize_t n = is_synced && poll(&in, 1, 0) == 1 ? read(STDIN_FILENO, keys, sizeof(keys)) : -1;
        for (ssize_t i = 0; i < n; i++)
            handoff_session_change(s, add_one, NULL, NULL, NULL);
        if (n == 0)
            in.fd = -1; /* the end of it: what waits still leaves */
        is_over = is_over || (in.fd < 0 && handoff_unsent(h) == 0);
    }
    handoff_free(h);
    return s && in.fd < 0 ? 0 : 1;
}
