/* audit_writer's one job: from the audit queue to rows, acknowledged after the commit. */
#pragma once

#include "common/app.h"

/* The app_spec's three. */
MUSTCHECK int writer_start(struct app *app, void **ret_self);
void writer_drain(void *self);
void writer_stop(void *self);
