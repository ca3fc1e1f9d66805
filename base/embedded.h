/* Files compiled into a program (tools/embed makes them): SQL migrations, Redis scripts. */
#pragma once

struct embedded {
    const char *name; /* the file's name, without its folder; NULL ends the list */
    const char *text;
};
