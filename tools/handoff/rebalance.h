/* `handoff rebalance`: an instance of ws_fanout is asked to send its clients elsewhere, and goes
 * on. */
#pragma once

extern const char rebalance_usage[];
/* The exit code; what went wrong is on stderr. */
int rebalance_run(int argc, char **argv);
