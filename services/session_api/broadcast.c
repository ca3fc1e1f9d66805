/* POST /sessions/{id}/broadcast. */
#include "common/broadcast.h"

#include "services/session_api/api.h"
#include "services/session_api/bodies.h"

static void publish(struct call *call, const struct session *session, bool is_hot) {
    struct fault fault;
    (void)is_hot;
    struct broadcast broadcast = {.user_id = call->who.user_id,
                                  .device_id = call->device_id,
                                  .rights = call->who.rights,
                                  .message = call->message,
                                  .echo = call->echo,
                                  .cloud_event = call->api->app->config->cloudevents,
                                  .trace = &call->trace};
    int64_t now = store_now(call->api->store);
    if (broadcast_publish(call->api->commander, session, now, &broadcast, &fault))
        call_refuse(call, &fault, NULL);
    else
        call_answer(call, 202, NULL);
}

void broadcast_send(struct call *call) {
    struct fault fault;
    size_t len = 0;
    const char *body = http_body(call->request, &len);
    enum media_type type = headers_media_type(http_header(call->request, "Content-Type"));
    if (bodies_read_broadcast(type, body, len, &call->message, &call->echo, &fault))
        call_refuse(call, &fault, NULL);
    else
        access_read_meta(call, publish);
}
