/* The command line of `handoff token`. */
#include "cli/token.h"

#include <string.h>

#include "cli/arguments.h"
#include "cli/token_parts.h"
#include "proto/text.h"

const char token_usage[] =
    "handoff token new --sub USER [--scope SCOPES] [--device ID] [--session SESSION]\n"
    "                  [--expires TIME] [--issuer TEXT] [--audience TEXT]\n"
    "                  [--key FILE] [--kid KID] [--secret-file FILE] [--json]\n"
    "handoff token check FILE|- [--json]\n"
    "\n"
    "  new    prints a token, signed with HANDOFF_JWT_SECRET (HS256) unless a key is given\n"
    "  check  says what Handoff makes of the token in the file (-: stdin): who it is, and what it\n"
    "         may until when; or why it is refused. By the services' own code and configuration\n"
    "\n"
    "  --sub      the user: a UUID, or any text, of which Handoff makes a UUID\n"
    "  --scope    sessions:read sessions:write sessions:admin, with spaces between; without it a\n"
    "             token may read and write\n"
    "  --device   the claim device_id; --session: the one session that it is for\n"
    "  --expires  from now: 90s, 15m, 1h (if not given), 7d; 366d at most\n"
    "  --issuer, --audience  if not given, those that are configured\n"
    "  --key      a private key in PEM form: RSA (RS256) or P-256 (ES256); --kid: as it is called "
    "in\n"
    "             HANDOFF_JWT_KEYS, <kid>.pem\n"
    "  --secret-file  has the secret, as HANDOFF_JWT_SECRET_FILE would\n"
    "  --json     an object: token and expiresAt; or what the check found\n"
    "\n"
    "Ends with 0 when the token is made, or taken; 1 when not; 2 for a mistake in the command or "
    "the\n"
    "configuration.\n";

static const char *check_new(const struct token_arguments *a, size_t n_words) {
    if (n_words != 1)
        return "token new takes no words.";
    if (!a->sub)
        return "Whose? Give --sub.";
    if (a->key && a->secret_file)
        return "--key or --secret-file, not both.";
    return a->kid && !a->key ? "--kid goes with --key." : NULL;
}

static const char *check_check(const struct token_arguments *a, size_t n_words) {
    bool is_for_new = a->sub || a->scope || a->device || a->session || a->issuer || a->audience ||
                      a->expires || a->key || a->kid || a->secret_file;
    if (n_words != 2)
        return "Which one? Give the token's FILE, or - for stdin.";
    return is_for_new ? "token check takes --json alone." : NULL;
}

static int act(bool is_new, const struct token_arguments *a, const char *file) {
    struct config config = {0};
    if (!arguments_load_config(CONFIG_SESSION_API, &config))
        return 2;
    int code = is_new ? token_new(a, &config) : token_check(file, a->json, &config);
    config_done(&config);
    return code;
}

int token_run(int argc, char **argv) {
    static const char *const verbs[] = {"new", "check"};
    struct token_arguments a = {0};
    size_t n = 0;
    const struct argument options[] = {
        {"--sub", NULL, &a.sub},         {"--scope", NULL, &a.scope},
        {"--device", NULL, &a.device},   {"--session", NULL, &a.session},
        {"--issuer", NULL, &a.issuer},   {"--audience", NULL, &a.audience},
        {"--expires", NULL, &a.expires}, {"--key", NULL, &a.key},
        {"--kid", NULL, &a.kid},         {"--secret-file", NULL, &a.secret_file},
        {"--json", &a.json, NULL},
    };
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    size_t verb = n ? arguments_find(argv[1], verbs, N_ELEMENTS(verbs)) : N_ELEMENTS(verbs);
    const char *mistake = verb == 0   ? check_new(&a, n)
                          : verb == 1 ? check_check(&a, n)
                                      : "token knows new and check.";
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    return act(verb == 0, &a, argv[2]);
}
