/* A point of reference: how long the smallest possible command and reply take over this broker on
 * this machine (direct reply-to, one at a time, between two processes), with nothing of Handoff in
 * between. usage: amqp_rpc PORT USER PASSWORD VHOST SECONDS */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/samples.h"
#include "tests/bench/sockets.h"

#define QUEUE "bench.echo"
#define REPLY_TO "amq.rabbitmq.reply-to"
#define BODY_BYTES 300

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

static void consume(amqp_connection_state_t c, const char *queue) {
    amqp_basic_consume(c, 1, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 1, 0,
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

static _Noreturn void serve(char **arguments, int ready_fd) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    amqp_connection_state_t c = connect_as(arguments);
    amqp_queue_declare(c, 1, amqp_cstring_bytes(QUEUE), 0, 0, 0, 1, amqp_empty_table);
    consume(c, QUEUE);
    if (write(ready_fd, "", 1) != 1)
        die("nobody waits");
    for (;;) {
        amqp_envelope_t asked = next_message(c);
        publish(c, asked.message.properties.reply_to, amqp_empty_bytes, asked.message.body);
        amqp_destroy_envelope(&asked);
    }
}

static pid_t start_server(char **arguments) {
    int ready[2];
    char byte;
    if (pipe(ready) < 0)
        die("no pipe");
    pid_t pid = fork();
    if (pid == 0)
        serve(arguments, ready[1]);
    close(ready[1]);
    if (pid < 0 || read(ready[0], &byte, 1) != 1)
        die("the answering side did not start");
    close(ready[0]);
    return pid;
}

static void measure(char **arguments, struct samples *samples) {
    char body[BODY_BYTES];
    memset(body, 'x', sizeof(body));
    amqp_connection_state_t c = connect_as(arguments);
    consume(c, REPLY_TO);
    uint64_t seconds = strtoull(arguments[4], NULL, 10);
    uint64_t end = now_ns() + seconds * UINT64_C(1000000000);
    for (uint64_t sent = now_ns(), now; sent < end; sent = now) {
        publish(c, amqp_cstring_bytes(QUEUE), amqp_cstring_bytes(REPLY_TO),
                (amqp_bytes_t){sizeof(body), body});
        amqp_envelope_t reply = next_message(c);
        amqp_destroy_envelope(&reply);
        now = now_ns();
        samples_add(samples, now - sent);
    }
    amqp_connection_close(c, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(c);
}

int main(int n_arguments, char **arguments) {
    if (n_arguments != 6)
        die("usage: amqp_rpc PORT USER PASSWORD VHOST SECONDS");
    pid_t server = start_server(arguments + 1);
    struct samples samples = {0};
    measure(arguments + 1, &samples);
    json_auto_t *summary = samples_summary(&samples);
    json_dumpf(summary, stdout, JSON_COMPACT);
    putchar('\n');
    samples_done(&samples);
    kill(server, SIGTERM);
    waitpid(server, NULL, 0);
    return 0;
}
