/* Bodies of replies; see replies.h. Plain ones are read mark by mark; from the first that is not
 * plain on, the body is parsed. */
#include "common/replies.h"

#include <string.h>

#include "proto/reader.h"
#include "proto/text.h"

struct replies {
    struct log *log;
    replies_fn *take;
    void *arg;
};

/* Whether these were all; *ret_n: how many there were. */
static bool read_plain(const struct replies *to, const char *body, size_t len, size_t *ret_n) {
    struct reader r = {body, len};
    struct reply reply;
    if (!reader_skip(&r, "{\"replies\":["))
        return false;
    while (reply_read(&r, &reply)) {
        to->take(to->arg, &reply);
        reply_done(&reply);
        ++*ret_n;
        if (!reader_skip(&r, ","))
            return reader_skip(&r, "]}") && r.left == 0;
    }
    return false;
}

static void parse_one(const struct replies *to, const json_t *object) {
    struct reply reply = {0};
    struct fault fault = {0};
    if (reply_parse(object, &reply, &fault) != 0) {
        log_warn(to->log, "reply_malformed", "A reply is not what an engine sends; it is dropped.",
                 LOG_TEXT("err", fault.detail));
        return;
    }
    to->take(to->arg, &reply);
    reply_done(&reply);
}

void replies_read(const char *body, size_t len, struct log *log, replies_fn *take, void *arg) {
    const struct replies to = {log, take, arg};
    _cleanup_(freep) char *copy = must_memdup(body, len);
    struct fault fault = {0};
    json_auto_t *parsed = NULL;
    size_t n_read = 0, i;
    json_t *object;
    if (read_plain(&to, copy, len, &n_read))
        return;
    if (text_parse(copy, len, &parsed, &fault) != 0) {
        log_warn(log, "reply_malformed", "A reply is not JSON; it is dropped.",
                 LOG_TEXT("err", fault.detail));
        return;
    }
    json_array_foreach(json_object_get(parsed, "replies"), i, object) {
        if (i >= n_read)
            parse_one(&to, object);
    }
}
