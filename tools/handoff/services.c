/* See services.h. */
#include "tools/handoff/services.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "common/config_table.h"
#include "tools/handoff/arguments.h"

extern char **environ;

void services_done(struct services *s) {
    for (size_t i = 0; i < s->n; i++)
        config_done(&s->configs[i]);
    s->n = 0;
}

const char *services_name(enum config_service service) {
    return config_service_name(service);
}

unsigned services_find(const char *name) {
    if (!name)
        return CONFIG_ALL;
    for (unsigned bit = 1; bit <= SERVICES_LAST; bit <<= 1)
        if (strcmp(name, config_service_name((enum config_service)bit)) == 0)
            return bit;
    return 0;
}

bool services_read(int argc, char **argv, unsigned *ret_services, bool *ret_json) {
    const char *service = NULL;
    size_t n = 0;
    const struct argument options[] = {{"--service", .text = &service},
                                       {"--json", .flag = ret_json}};
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return false;
    *ret_services = services_find(service);
    if (n)
        arguments_mistake(argv[0], "%s takes no words.", argv[0]);
    else if (!*ret_services)
        arguments_mistake(argv[0], "--service takes session_api, state_engine, ws_fanout, "
                                   "audit_writer or handoff.");
    return !n && *ret_services;
}

char *services_load(enum config_service service, struct config *ret) {
    char *told = NULL;
    size_t len = 0;
    FILE *err = open_memstream(&told, &len);
    if (!err)
        return must_strdup("out of memory");
    int failed = config_load(service, (const char *const *)environ, ret, err);
    fclose(err);
    if (failed && !len) { /* never without a reason */
        free(told);
        return must_strdup("it cannot be loaded");
    }
    return told ? told : must_strdup("");
}
