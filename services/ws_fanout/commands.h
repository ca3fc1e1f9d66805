/* Commands of WebSocket clients to the engine: patch, status, heartbeat; answered by ack or error.
 */
#pragma once

#include "services/ws_fanout/connection.h"
#include "services/ws_fanout/protocol.h"

/* Sends m->command in the connection's name; the answer comes later, unless the connection is gone.
 */
void commands_send(struct connection *c, struct protocol_message *m);
/* The connection ends: its commands go on, their answers have nobody to go to. */
void commands_forget(struct connection *c);
