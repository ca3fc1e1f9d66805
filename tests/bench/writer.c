/* PATCHes, creates and reads; see writer.h. */
#include "tests/bench/writer.h"

#include <stdio.h>

#include "tests/bench/samples.h"

static void on_answer(struct http_client *c, int status) {
    struct writer *w = c->arg;
    w->n_answered++;
    w->idle[w->n_idle++] = c;
    if (status == 200 || status == 201)
        w->n_accepted++;
    else if (!w->refused_status)
        w->refused_status = status;
    w->answered(w, c, status);
}

void writer_open(struct writer *w, struct sockets *all, uint16_t port, size_t n_connections) {
    *w = (struct writer){.n_clients = n_connections, .next_value = 1};
    w->clients = must_alloc(n_connections * sizeof(*w->clients));
    w->idle = must_alloc(n_connections * sizeof(struct http_client *));
    w->since_ns = must_alloc(WRITER_RING * sizeof(*w->since_ns));
    for (size_t i = 0; i < n_connections; i++) {
        http_client_open(&w->clients[i], all, port, on_answer, w);
        w->idle[w->n_idle++] = &w->clients[i];
    }
}

void writer_come_back(struct writer *w) {
    snprintf(w->key, sizeof(w->key), "%llx", (unsigned long long)now_ns());
    for (size_t i = 0; i < w->n_clients; i++)
        w->clients[i].comes_back = true;
}

uint64_t writer_n_comebacks(const struct writer *w) {
    uint64_t n = 0;
    for (size_t i = 0; i < w->n_clients; i++)
        n += w->clients[i].n_comebacks;
    return n;
}

void writer_close(struct writer *w) {
    for (size_t i = 0; i < w->n_clients; i++)
        http_client_close(&w->clients[i]);
    free(w->clients);
    free(w->idle);
    free(w->since_ns);
    buf_done(&w->request);
    buf_done(&w->body);
    *w = (struct writer){0};
}

static void send_body(struct writer *w, const char *method, const char *path, const char *token,
                      uint64_t since_ns) {
    buf_clear(&w->request);
    buf_printf(&w->request,
               "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n",
               method, path, token, w->body.len);
    if (w->key[0])
        buf_printf(&w->request, "Idempotency-Key: %s-%llu\r\n", w->key,
                   (unsigned long long)w->n_sent);
    buf_printf(&w->request, "\r\n%s", w->body.data);
    w->n_sent++;
    http_client_send(w->idle[--w->n_idle], &w->request, since_ns);
}

void writer_patch(struct writer *w, const char *session_id, const char *token, uint64_t since_ns) {
    char path[64];
    uint64_t value = w->next_value++;
    w->since_ns[value % WRITER_RING] = since_ns;
    buf_clear(&w->body);
    buf_printf(&w->body,
               "{\"operations\":[{\"op\":\"replace\",\"path\":\"/data/progress\",\"value\":%llu}]}",
               (unsigned long long)value);
    snprintf(path, sizeof(path), "/sessions/%s", session_id);
    send_body(w, "PATCH", path, token, since_ns);
}

void writer_publish(struct writer *w, const char *channel, uint64_t version, size_t text_bytes,
                    uint64_t since_ns) {
    char path[80];
    uint64_t value = w->next_value++;
    w->since_ns[value % WRITER_RING] = since_ns;
    buf_clear(&w->body);
    buf_printf(&w->body, "{\"type\":\"state_delta\",\"version\":%llu,\"value\":%llu,\"filler\":\"",
               (unsigned long long)version, (unsigned long long)value);
    while (w->body.len + 2 < text_bytes)
        buf_putc(&w->body, 'x');
    buf_puts(&w->body, "\"}");
    snprintf(path, sizeof(path), "/pub?session=%s", channel);
    send_body(w, "POST", path, "", since_ns);
}

void writer_create(struct writer *w, const char *token, const char *data, const char *clock,
                   uint64_t tag) {
    w->idle[w->n_idle - 1]->tag = tag;
    buf_clear(&w->body);
    buf_printf(&w->body, "{\"name\":\"Evening meditation\",\"type\":\"meditation\",\"data\":%s",
               data);
    if (clock)
        buf_printf(&w->body, ",\"clock\":%s", clock);
    buf_puts(&w->body, "}");
    send_body(w, "POST", "/sessions", token, now_ns());
}

void writer_get(struct writer *w, const char *session_id, const char *token) {
    buf_clear(&w->request);
    buf_printf(&w->request,
               "GET /sessions/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n",
               session_id, token);
    w->n_sent++;
    http_client_send(w->idle[--w->n_idle], &w->request, now_ns());
}

uint64_t writer_since_ns(const struct writer *w, uint64_t value) {
    return w->since_ns[value % WRITER_RING];
}
