/* Words of commands on the wire, for command.c and command_parse.c. */
#pragma once

#include "proto/command.h"

/* In the order of enum command_kind. */
static const char *const command_kind_names[COMMAND_N_KINDS] = {
    "create",   "patch",       "status", "delete",   "heartbeat", "load",      "restore",
    "snapshot", "participant", "device", "presence", "switch",    "clock_set", "clock_adjust"};

/* The right of bit 1 << i. */
#define COMMAND_N_RIGHTS 3
static const char *const command_right_names[COMMAND_N_RIGHTS] = {"read", "write", "admin"};
