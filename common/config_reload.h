/* What a configuration that was read again may change in a process that runs. Pure. */
#pragma once

#include "base/buf.h"
#include "base/cleanup.h"
#include "common/config.h"

/* Compares fresh with what holds now, and gives fresh the values of now wherever nothing may
 * change. Appends the names of what changes, and of what would need a restart, with spaces between.
 * -EINVAL when a URL's new user or password cannot be; what is wrong is written to err as
 * config_load does. */
MUSTCHECK int config_reload_judge(struct config *fresh, const struct config *now,
                                  struct buf *changes, struct buf *need_restart, FILE *err);
/* Puts into now what fresh has of what may change; fresh gets the old values. Texts of now that may
 * not change stay where they are. */
void config_reload_take(struct config *now, struct config *fresh);
