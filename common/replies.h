/* The body of a message of replies -> each of them. Private to commander.c. */
#pragma once

#include <stddef.h>

#include "common/log.h"
#include "proto/command.h"

/* reply: the receiver's until it returns. */
typedef void replies_fn(void *arg, struct reply *reply);
/* Calls take for each reply, in order. What is none is logged and dropped. take may do what it
 * likes to whoever lent the body. */
void replies_read(const char *body, size_t len, struct log *log, replies_fn *take, void *arg);
