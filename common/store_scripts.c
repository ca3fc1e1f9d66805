/* The Lua scripts of common/scripts, compiled in. */
#include <stdio.h>
#include <string.h>

#include "base/embedded.h"
#include "base/hash.h"
#include "common/store_private.h"

extern const struct embedded embedded_scripts[];

const char *store_script_file(enum store_script script) {
    static const char *const files[STORE_N_SCRIPTS] = {
        [STORE_SCRIPT_READ] = "read.lua",
        [STORE_SCRIPT_SAVE] = "save.lua",
        [STORE_SCRIPT_MARK] = "mark.lua",
        [STORE_SCRIPT_CLAIM_DUE] = "claim_due.lua",
        [STORE_SCRIPT_REARM] = "rearm.lua",
        [STORE_SCRIPT_CLAIM_CREATE] = "claim_create.lua",
        [STORE_SCRIPT_COUNT_TRY] = "count_try.lua",
        [STORE_SCRIPT_TAKE_TOKEN] = "take_token.lua",
        [STORE_SCRIPT_PRESENCE] = "presence.lua",
        [STORE_SCRIPT_PAST] = "past.lua",
        [STORE_SCRIPT_RECOVER] = "recover.lua",
        [STORE_SCRIPT_MEMORY] = "memory.lua",
        [STORE_SCRIPT_COOL_BEGIN] = "cool_begin.lua",
        [STORE_SCRIPT_COOL_END] = "cool_end.lua",
        [STORE_SCRIPT_BURY] = "bury.lua",
        [STORE_SCRIPT_CODE_RESERVE] = "code_reserve.lua",
        [STORE_SCRIPT_CODE_RELEASE] = "code_release.lua",
        [STORE_SCRIPT_CODE_OFFER] = "code_offer.lua",
        [STORE_SCRIPT_CODE_CLAIM] = "code_claim.lua",
        [STORE_SCRIPT_CODE_TRY] = "code_try.lua",
        [STORE_SCRIPT_CODE_UNTRY] = "code_untry.lua",
    };
    return files[script];
}

const char *store_script_text(enum store_script script) {
    const struct embedded *file = embedded_scripts;
    while (strcmp(file->name, store_script_file(script)) != 0)
        file++; /* the build made the list from these very files */
    return file->text;
}

void store_script_sha(enum store_script script, char ret[static 41]) {
    const char *text = store_script_text(script);
    uint8_t digest[20];
    hash_sha1(text, strlen(text), digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}
