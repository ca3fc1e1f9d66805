/* `handoff dead-letters`: looks at what the services put away, puts it back where it came from, or
 * drops it. */
#pragma once

extern const char dead_letters_usage[];
int dead_letters_run(int argc, char **argv);
