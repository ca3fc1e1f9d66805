/* Private to config*.c (and app.c, for the name): what a configuration row is, and how its value is
 * read and shown. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "common/config.h"

/* What of a value a process that runs takes anew when it is told to (SIGHUP). */
enum config_reload {
    CONFIG_STAYS,
    CONFIG_RELOADS,          /* all of it, where it comes from a file */
    CONFIG_RELOADS_LOGIN,    /* of a URL from a file: user and password */
    CONFIG_RELOADS_CONTENTS, /* what the path leads to */
};

enum config_type {
    CONFIG_TEXT,     /* any UTF-8 without control characters */
    CONFIG_NAME,     /* 1 to 64 of A-Z a-z 0-9 . _ - */
    CONFIG_CHOICE,   /* one of row.choices */
    CONFIG_LIST,     /* one or more of row.choices, comma-separated, each once */
    CONFIG_ORIGINS,  /* as common/origins.h says */
    CONFIG_NETWORKS, /* comma-separated addresses and networks in CIDR notation */
    CONFIG_PATH,     /* of a file or folder */
    CONFIG_ADDRESS,  /* host:port or [v6]:port */
    CONFIG_CODE_URL, /* of any scheme, with {code} in it once */
    CONFIG_URL,      /* with one of row.choices as its scheme; may come from a file */
    CONFIG_SECRET,   /* at least row.least bytes; may come from a file */
    CONFIG_BOOLEAN,  /* int64_t 0 or 1 */
    CONFIG_INTEGER,  /* int64_t */
    CONFIG_DURATION, /* int64_t, ms */
    CONFIG_SIZE,     /* int64_t, bytes */
    CONFIG_RATIO,    /* int64_t, millionths: CONFIG_RATIO_ONE is 1 */
};

struct config_row {
    const char *name;
    enum config_type type;
    size_t offset;        /* in struct config: of a char * or an int64_t */
    unsigned services;    /* bits of enum config_service */
    const char *fallback; /* the default, as it would be given; NULL: made up at start, "": none */
    const char *by_service[5]; /* where a service's default is another one; in the bits' order */
    int64_t least, most;
    const char *choices; /* separated by spaces */
    const char *help;
    enum config_reload reload;
    bool may_be_file; /* beside those whose type says so */
};

/* The table, ended by a row without a name. */
const struct config_row *config_rows(void);
const char *config_row_fallback(const struct config_row *row, enum config_service service);
bool config_row_may_be_file(const struct config_row *row);
/* "session_api": the name of exactly one bit. */
const char *config_service_name(enum config_service service);

bool config_type_is_number(enum config_type type);
/* Whether text is a value of the row; *ret_number is set for the types that are numbers. */
MUSTCHECK bool config_value_parse(const struct config_row *row, const char *text,
                                  int64_t *ret_number);
/* Appends what the row takes, for a person: "a duration from 100ms to 1m, such as 250ms, 30s …". */
void config_value_allowed(const struct config_row *row, struct buf *out);
/* Appends a number the way it would be given: 5s, 64KiB. */
void config_value_print_number(enum config_type type, int64_t number, struct buf *out);
/* Appends a text so that no secret of it is seen. */
void config_value_print_text(enum config_type type, const char *text, struct buf *out);
