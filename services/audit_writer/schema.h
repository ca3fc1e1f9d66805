/* The database's shape: migrations each time the connection comes up, before anything is written,
 * and partitions for the coming months, then and daily. */
#pragma once

#include "base/cleanup.h"
#include "common/app.h"
#include "common/db.h"

struct schema;

/* ready(arg): the schema is there; failed(arg, why): it is not, another try follows by itself. */
struct schema_callbacks {
    void (*ready)(void *arg);
    void (*failed)(void *arg, const char *why);
};

struct schema *schema_new(struct app *app, const struct schema_callbacks *callbacks, void *arg);
struct schema *schema_free(struct schema *s);
DEFINE_CLEANUP(struct schema *, schema_free)

/* The connection came up: brings the schema up to date, then calls ready. db is borrowed until
 * schema_disconnected. */
void schema_connected(struct schema *s, struct db *db);
void schema_disconnected(struct schema *s);
