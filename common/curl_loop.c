/* See curl_loop.h. */
#include "common/curl_loop.h"

#include <errno.h>
#include <signal.h>

#include "base/buf.h"

/* A thread that libcurl makes on the way blocks all signals: they are for the loop's own (app.c).
 */
static void act(struct curl_loop *c, curl_socket_t fd, int events) {
    sigset_t all, before;
    int n_running, n_left;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    curl_multi_socket_action(c->multi, fd, events, &n_running);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (CURLMsg *m; c->multi && (m = curl_multi_info_read(c->multi, &n_left));)
        if (m->msg == CURLMSG_DONE)
            c->done(c->arg, m->easy_handle, m->data.result);
}

static void on_timer(uv_timer_t *timer) {
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout(CURLM *multi, long timeout_ms, void *arg) {
    struct curl_loop *c = arg;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&c->timer);
    else
        uv_timer_start(&c->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

/* ---- descriptors ---- */

struct watched {
    uv_poll_t poll;
    curl_socket_t fd;
};

static void on_poll(uv_poll_t *poll, int status, int events) {
    const struct watched *w = (const struct watched *)poll;
    int for_curl = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                   (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0) |
                   (status < 0 ? CURL_CSELECT_ERR : 0);
    act(poll->data, w->fd, for_curl);
}

static void free_watched(uv_handle_t *handle) {
    free(handle);
}

static struct watched *watch(struct curl_loop *c, curl_socket_t fd) {
    struct watched *w = must_alloc(sizeof(*w));
    w->fd = fd;
    if (uv_poll_init(c->loop, &w->poll, fd) < 0) {
        free(w);
        return NULL;
    }
    w->poll.data = c;
    curl_multi_assign(c->multi, fd, w);
    return w;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket) {
    struct watched *w = of_socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            uv_poll_stop(&w->poll); /* before libcurl closes the descriptor */
            uv_close((uv_handle_t *)&w->poll, free_watched);
        }
        return 0;
    }
    if (!w && !(w = watch(arg, fd)))
        return -1;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&w->poll, events, on_poll);
    return 0;
}

/* ---- open and close ---- */

int curl_loop_open(struct curl_loop *c, uv_loop_t *loop, curl_loop_done_fn *done, void *arg) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -ENOMEM;
    CURLM *multi = curl_multi_init();
    if (!multi) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    *c = (struct curl_loop){.multi = multi, .loop = loop, .done = done, .arg = arg};
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, c);
    return 0;
}

void curl_loop_close(struct curl_loop *c, uv_close_cb closed) {
    curl_multi_cleanup(c->multi); /* closes what it still has, and so stops our watching it */
    c->multi = NULL;
    curl_global_cleanup();
    c->timer.data = c->arg;
    uv_close((uv_handle_t *)&c->timer, closed);
}
