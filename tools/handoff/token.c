/* The command line of `handoff token`. */
#include "tools/handoff/token.h"

#include "tools/handoff/arguments.h"
#include "tools/handoff/token_parts.h"

const char token_usage[] =
    "handoff token new --sub USER [--scope SCOPES] [--device ID]\n"
    "                  [--session SESSION] [--expires TIME] [--issuer TEXT]\n"
    "                  [--audience TEXT] [--key FILE] [--kid KID]\n"
    "                  [--secret-file FILE] [--json]\n"
    "handoff token check FILE|- [--json]\n"
    "\n"
    "  new    prints a token, signed with HANDOFF_JWT_SECRET (HS256) unless a key is\n"
    "         given\n"
    "  check  says what Handoff makes of the token in the file (-: stdin): who it\n"
    "         is, and what it may until when; or why it is refused. By the services'\n"
    "         own code and configuration\n"
    "\n"
    "  --sub          the user: a UUID, or any text, of which Handoff makes a UUID\n"
    "  --scope        sessions:read sessions:write sessions:admin, with spaces\n"
    "                 between; without it a token may read and write\n"
    "  --device       the claim device_id\n"
    "  --session      the one session that it is for\n"
    "  --expires      from now: 90s, 15m, 1h (if not given), 7d; 366d at most\n"
    "  --issuer, --audience\n"
    "                 if not given, those that are configured\n"
    "  --key          a private key in PEM form: RSA (RS256) or P-256 (ES256)\n"
    "  --kid          as it is called in HANDOFF_JWT_KEYS, <kid>.pem\n"
    "  --secret-file  has the secret, as HANDOFF_JWT_SECRET_FILE would\n"
    "  --json         an object: token and expiresAt; or what the check found\n"
    "\n"
    "Ends with 0 when the token is made, or valid; 1 when not; 2 for a mistake in\n"
    "the command or the configuration.\n";

static const char *check_new(const struct token_arguments *a, size_t n_words) {
    if (n_words)
        return "token new takes no words.";
    if (!a->sub)
        return "Whose? Give --sub.";
    if (a->key && a->secret_file)
        return "--key or --secret-file, not both.";
    return a->kid && !a->key ? "--kid goes with --key." : NULL;
}

static int run_new(int argc, char **argv) {
    struct token_arguments a = {0};
    struct config config = {0};
    size_t n = 0;
    const struct argument options[] = {
        {"--sub", .text = &a.sub},         {"--scope", .text = &a.scope},
        {"--device", .text = &a.device},   {"--session", .text = &a.session},
        {"--issuer", .text = &a.issuer},   {"--audience", .text = &a.audience},
        {"--expires", .text = &a.expires}, {"--key", .text = &a.key},
        {"--kid", .text = &a.kid},         {"--secret-file", .text = &a.secret_file},
        {"--json", .flag = &a.json},
    };
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    const char *mistake = check_new(&a, n);
    if (mistake)
        return arguments_mistake(argv[0], "%s", mistake);
    if (!arguments_load_config(CONFIG_SESSION_API, &config))
        return 2;
    int code = token_new(&a, &config);
    config_done(&config);
    return code;
}

static int run_check(int argc, char **argv) {
    struct config config = {0};
    bool json = false;
    size_t n = 0;
    const struct argument options[] = {{"--json", .flag = &json}};
    if (!arguments_read(argc, argv, options, N_ELEMENTS(options), &n))
        return 2;
    if (n != 1)
        return arguments_mistake(argv[0], "Which one? Give the token's FILE, or - for stdin.");
    if (!arguments_load_config(CONFIG_SESSION_API, &config))
        return 2;
    int code = token_check(argv[1], json, &config);
    config_done(&config);
    return code;
}

int token_run(int argc, char **argv) {
    static const struct verb verbs[] = {{"new", run_new}, {"check", run_check}};
    return arguments_run_verb(argc, argv, verbs, N_ELEMENTS(verbs));
}
