/* See advice.h: by the words that RabbitMQ, PostgreSQL and Redis have for it. */
#include "tools/handoff/advice.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool has(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

static const char *for_rabbitmq(const char *why) {
    if (has(why, "login"))
        return "Are user, password and vhost of HANDOFF_AMQP_URL right?";
    if (has(why, "403"))
        return "That is what the user of HANDOFF_AMQP_URL may not: operator and consumer of "
               "compose/rabbitmq/definitions.json may what handoff does.";
    if (has(why, "404"))
        return "Is its name right, and has somebody made it?";
    return "Is RabbitMQ up, and HANDOFF_AMQP_URL right?";
}

static const char *for_postgresql(const char *why) {
    if (has(why, "password authentication failed") || has(why, "no password supplied"))
        return "Are user and password of HANDOFF_DATABASE_URL right?";
    if (has(why, "permission denied"))
        return "That is what the role of HANDOFF_DATABASE_URL may not: "
               "compose/postgresql/rights.sql gives it to operator, session_api and state_engine.";
    if (has(why, "relation \"") && has(why, "does not exist"))
        return "Is it the services' database, and has audit_writer made the tables (handoff "
               "migrate status)?";
    return "Is PostgreSQL up, and HANDOFF_DATABASE_URL right?";
}

static const char *for_redis(const char *why) {
    if (has(why, "login was refused"))
        return "Are user and password of HANDOFF_REDIS_URL right?";
    if (has(why, "NOPERM"))
        return "That is what the user of HANDOFF_REDIS_URL may not: operator and session_api of "
               "compose/redis/users.acl may it.";
    return "Is Redis up, and HANDOFF_REDIS_URL right?";
}

/* A reason may end as a sentence does. */
static void tell(const char *who, const char *why, const char *what) {
    size_t len = strlen(why);
    while (len && strchr(". \n", why[len - 1]))
        len--;
    fprintf(stderr, "handoff: %s: %.*s. %s\n", who, (int)len, why, what);
}

void advice_rabbitmq(const char *who, const char *why) {
    tell(who, why, for_rabbitmq(why));
}

void advice_postgresql(const char *who, const char *why) {
    tell(who, why, for_postgresql(why));
}

void advice_redis(const char *who, const char *why) {
    tell(who, why, for_redis(why));
}
