/* Commands of WebSocket clients: patch, status, switch, heartbeat to the engine, broadcasts to the
 * session's devices; answered by ack or error. */
#pragma once

#include "services/ws_fanout/connection.h"
#include "services/ws_fanout/protocol.h"

/* Sends m->command in the connection's name; the answer comes later, unless the connection is gone.
 */
void commands_send(struct connection *c, struct protocol_message *m);
/* Broadcasts m->message in the connection's name, as commands_send; the connection has to watch the
 * session. */
void commands_broadcast(struct connection *c, const struct protocol_message *m);
/* The connection ends: its commands go on, their answers have nobody to go to. */
void commands_forget(struct connection *c);
