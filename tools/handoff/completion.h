/* `handoff completion`: what a shell needs to know, made of the commands' own usage. */
#pragma once

extern const char completion_usage[];
int completion_run(int argc, char **argv);
