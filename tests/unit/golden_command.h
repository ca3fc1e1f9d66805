/* The commands of the golden examples, as they are and with members changed. */
#pragma once

#include "golden_session.h"
#include "proto/command.h"

static inline struct command golden_command(const char *example) {
    json_t *object = golden_load(example);
    struct command c;
    struct fault f = {0};
    if (command_parse(object, &c, &f) != 0)
        fail_msg("%s: %s", example, f.detail);
    json_decref(object);
    return c;
}

struct change {
    const char *member, *value; /* value NULL: left out; member NULL: no change */
};

static const struct change no_change;

/* The example with up to two members changed. */
static inline int parse_changed(const char *example, struct change a, struct change b,
                                struct command *ret, struct fault *f) {
    json_t *object = golden_load(example);
    const struct change changes[] = {a, b};
    for (int i = 0; i < 2; i++) {
        if (changes[i].member && changes[i].value)
            json_object_set_new(object, changes[i].member, golden_value(changes[i].value));
        else if (changes[i].member)
            json_object_del(object, changes[i].member);
    }
    int r = command_parse(object, ret, f);
    json_decref(object);
    return r;
}
