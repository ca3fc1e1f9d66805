#include "cli/sessions.h"
int sessions_replay(int argc, char **argv) {
    (void)argc;
    (void)argv;
    return 2;
}
