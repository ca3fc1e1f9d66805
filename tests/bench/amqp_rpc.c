/* A point of reference: how long the smallest possible command and reply take over this broker on
 * this machine (direct reply-to, between two processes), with nothing of Handoff in between. With
 * "events" the answering side does what a state_engine does at the broker, and only that: for each
 * command it publishes a durable event, which a third process takes from two queues, and
 * acknowledges the command once the event is confirmed.
 * usage: amqp_rpc PORT USER PASSWORD VHOST SECONDS [IN_FLIGHT | events] */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/samples.h"
#include "tests/bench/sockets.h"

#define QUEUE "bench.echo"
#define REPLY_TO "amq.rabbitmq.reply-to"
#define EVENTS "bench.events"
#define FANOUT_QUEUE "bench.fanout"
#define AUDIT_QUEUE "bench.audit"
#define BODY_BYTES 300
#define MOST_IN_FLIGHT 1024

static amqp_connection_state_t connect_as(char **arguments) {
    amqp_connection_state_t c = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(c);
    if (!socket || amqp_socket_open(socket, "127.0.0.1", atoi(arguments[0])) != AMQP_STATUS_OK)
        die("RabbitMQ cannot be reached");
    amqp_rpc_reply_t reply = amqp_login(c, arguments[3], 0, 131072, 0, AMQP_SASL_METHOD_PLAIN,
                                        arguments[1], arguments[2]);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        die("RabbitMQ refuses the login");
    amqp_channel_open(c, 1);
    return c;
}

static void consume(amqp_connection_state_t c, const char *queue, bool no_ack) {
    amqp_basic_consume(c, 1, amqp_cstring_bytes(queue), amqp_cstring_bytes(queue), 0, no_ack, 0,
                       amqp_empty_table);
    if (amqp_get_rpc_reply(c).reply_type != AMQP_RESPONSE_NORMAL)
        die("%s cannot be consumed", queue);
}

static amqp_envelope_t next_message(amqp_connection_state_t c) {
    amqp_envelope_t envelope;
    amqp_maybe_release_buffers(c);
    if (amqp_consume_message(c, &envelope, NULL, 0).reply_type != AMQP_RESPONSE_NORMAL)
        die("RabbitMQ is gone");
    return envelope;
}

static void publish(amqp_connection_state_t c, amqp_bytes_t queue, amqp_bytes_t reply_to,
                    amqp_bytes_t body) {
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG |
                                                    (reply_to.len ? AMQP_BASIC_REPLY_TO_FLAG : 0),
                                          .delivery_mode = 1,
                                          .reply_to = reply_to};
    if (amqp_basic_publish(c, 1, amqp_empty_bytes, queue, 0, 0, &properties, body) !=
        AMQP_STATUS_OK)
        die("RabbitMQ is gone");
}

static void tell(int ready_fd) {
    if (write(ready_fd, "", 1) != 1)
        die("nobody waits");
}

/* ---- the answering side ---- */

static void publish_event(amqp_connection_state_t c, amqp_bytes_t body) {
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
                                          .delivery_mode = 2};
    if (amqp_basic_publish(c, 1, amqp_cstring_bytes(EVENTS), amqp_cstring_bytes("session.0.update"),
                           0, 0, &properties, body) != AMQP_STATUS_OK)
        die("RabbitMQ is gone");
}

static void await_confirm(amqp_connection_state_t c) {
    amqp_frame_t frame;
    amqp_maybe_release_buffers(c);
    if (amqp_simple_wait_frame(c, &frame) != AMQP_STATUS_OK ||
        frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
        die("an event is not confirmed");
}

static void answer(amqp_connection_state_t c, amqp_connection_state_t events) {
    amqp_envelope_t asked = next_message(c);
    if (events)
        publish_event(events, asked.message.body);
    publish(c, asked.message.properties.reply_to, amqp_empty_bytes, asked.message.body);
    if (events) {
        await_confirm(events);
        amqp_basic_ack(c, 1, asked.delivery_tag, 0);
    }
    amqp_destroy_envelope(&asked);
}

static void serve(char **arguments, bool with_events, int ready_fd) {
    amqp_connection_state_t c = connect_as(arguments);
    amqp_connection_state_t events = NULL;
    if (with_events) {
        events = connect_as(arguments);
        amqp_confirm_select(events, 1);
    }
    amqp_queue_declare(c, 1, amqp_cstring_bytes(QUEUE), 0, 0, 0, 1, amqp_empty_table);
    consume(c, QUEUE, !with_events);
    tell(ready_fd);
    for (;;)
        answer(c, events);
}

/* ---- those who take the events ---- */

static void bind_queue(amqp_connection_state_t c, const char *queue, bool durable) {
    amqp_queue_declare(c, 1, amqp_cstring_bytes(queue), 0, durable, !durable, 1, amqp_empty_table);
    amqp_queue_bind(c, 1, amqp_cstring_bytes(queue), amqp_cstring_bytes(EVENTS),
                    amqp_cstring_bytes("session.#"), amqp_empty_table);
    consume(c, queue, !durable);
}

/* As ws_fanout, without acknowledgements, and as audit_writer, with them. */
static void take_events(char **arguments, bool with_events, int ready_fd) {
    (void)with_events;
    amqp_connection_state_t c = connect_as(arguments);
    amqp_exchange_declare(c, 1, amqp_cstring_bytes(EVENTS), amqp_cstring_bytes("topic"), 0, 0, 1, 0,
                          amqp_empty_table);
    bind_queue(c, FANOUT_QUEUE, false);
    bind_queue(c, AUDIT_QUEUE, true);
    tell(ready_fd);
    for (;;) {
        amqp_envelope_t event = next_message(c);
        if (memcmp(event.consumer_tag.bytes, AUDIT_QUEUE, event.consumer_tag.len) == 0)
            amqp_basic_ack(c, 1, event.delivery_tag, 0);
        amqp_destroy_envelope(&event);
    }
}

/* A process that does `work` until this one ends; returns when it is ready. */
static pid_t start(void (*work)(char **arguments, bool with_events, int ready_fd), char **arguments,
                   bool with_events) {
    int ready[2];
    char byte;
    if (pipe(ready) < 0)
        die("no pipe");
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(arguments, with_events, ready[1]);
    }
    close(ready[1]);
    if (pid < 0 || read(ready[0], &byte, 1) != 1)
        die("the answering side did not start");
    close(ready[0]);
    return pid;
}

static void stop(pid_t pid) {
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* ---- the asking side ---- */

/* in_flight commands are always on their way; their replies come in their order. */
static void measure(char **arguments, size_t in_flight, struct samples *samples) {
    char body[BODY_BYTES];
    uint64_t sent_ns[MOST_IN_FLIGHT], n_sent = 0, n_answered = 0;
    memset(body, 'x', sizeof(body));
    amqp_connection_state_t c = connect_as(arguments);
    consume(c, REPLY_TO, true);
    uint64_t end = now_ns() + strtoull(arguments[4], NULL, 10) * UINT64_C(1000000000);
    for (uint64_t now = now_ns(); now < end || n_answered < n_sent; now = now_ns()) {
        for (; now < end && n_sent - n_answered < in_flight; n_sent++) {
            sent_ns[n_sent % MOST_IN_FLIGHT] = now_ns();
            publish(c, amqp_cstring_bytes(QUEUE), amqp_cstring_bytes(REPLY_TO),
                    (amqp_bytes_t){sizeof(body), body});
        }
        if (n_answered == n_sent)
            break;
        amqp_envelope_t reply = next_message(c);
        amqp_destroy_envelope(&reply);
        samples_add(samples, now_ns() - sent_ns[n_answered++ % MOST_IN_FLIGHT]);
    }
    amqp_connection_close(c, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(c);
}

int main(int argc, char **argv) {
    bool with_events = argc == 7 && strcmp(argv[6], "events") == 0;
    size_t in_flight = argc == 7 && !with_events ? strtoul(argv[6], NULL, 10) : 1;
    if (argc < 6 || argc > 7 || !in_flight || in_flight > MOST_IN_FLIGHT)
        die("usage: amqp_rpc PORT USER PASSWORD VHOST SECONDS [IN_FLIGHT | events]");
    pid_t taker = with_events ? start(take_events, argv + 1, true) : 0;
    pid_t server = start(serve, argv + 1, with_events);
    struct samples samples = {0};
    measure(argv + 1, in_flight, &samples);
    json_auto_t *summary = samples_summary(&samples);
    json_dumpf(summary, stdout, JSON_COMPACT);
    putchar('\n');
    samples_done(&samples);
    stop(server);
    if (taker)
        stop(taker);
    return 0;
}
