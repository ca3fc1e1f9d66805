/* What is to be done about what a server said. */
#pragma once

/* In a sentence or two; why: as bus.h, db.h or store.h have it. */
const char *advice_rabbitmq(const char *why);
const char *advice_postgresql(const char *why);
const char *advice_redis(const char *why);
