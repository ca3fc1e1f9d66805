/* `handoff token`: makes one, or says what Handoff would make of one. */
#pragma once

extern const char token_usage[];
int token_run(int argc, char **argv);
