/* What is to be done about what a server said. */
#pragma once

/* On stderr: who, why (as bus.h, db.h or store.h have it), and what to do. who: the server, or what
 * was asked of it. */
void advice_rabbitmq(const char *who, const char *why);
void advice_postgresql(const char *who, const char *why);
void advice_redis(const char *who, const char *why);
