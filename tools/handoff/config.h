/* `handoff config`: what each service is configured with, as this environment has it. */
#pragma once

extern const char config_usage[];
int config_run(int argc, char **argv);
