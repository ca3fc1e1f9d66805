/* Completion for bash, made of the lines that --help shows of each command ("handoff token new
 * --sub USER …"), so that it has what they have: verbs, options, and what an option's value is: a
 * file, or one of several words. */
#include "tools/handoff/completion.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "tools/handoff/arguments.h"
#include "tools/handoff/command.h"

const char completion_usage[] = "handoff completion bash\n"
                                "\n"
                                "  Prints completion for bash: . <(handoff completion bash)\n";

/* ---- reading usage ---- */

#define WORD_CAP 96
/* What ends a word, beside white space. */
#define IS_AROUND(c) ((c) == '[' || (c) == ']')

/* The next word of a form, without brackets; false at its end. A form goes on in lines that are
 * indented. *ret_is_apart (may be NULL): a bracket stands before it. */
static bool next_word(const char **at, char ret[static WORD_CAP], bool *ret_is_apart) {
    const char *text = *at;
    bool is_apart = false;
    for (;; text++) {
        is_apart |= IS_AROUND(*text);
        if (*text == '\n' && text[1] != ' ')
            return false;
        if (!*text)
            return false;
        if (!isspace((unsigned char)*text) && !IS_AROUND(*text))
            break;
    }
    size_t n = 0;
    for (; *text && !isspace((unsigned char)*text) && !IS_AROUND(*text); text++)
        if (n + 1 < WORD_CAP)
            ret[n++] = *text;
    ret[n] = '\0';
    *at = text;
    if (ret_is_apart)
        *ret_is_apart = is_apart;
    return true;
}

/* Past the form's end; false: there is no further one. */
static bool next_form(const char **at) {
    const char *text = *at;
    char word[WORD_CAP];
    while (next_word(&text, word, NULL))
        ;
    text += strcspn(text, "\n");
    if (*text != '\n' || text[1] == '\n' || !text[1])
        return false;
    *at = text + 1;
    return true;
}

static bool is_verb(const char *word) {
    return word[strspn(word, "abcdefghijklmnopqrstuvwxyz-")] == '\0' &&
           islower((unsigned char)*word);
}

static bool is_option(const char *word) {
    return strncmp(word, "--", 2) == 0;
}

/* ---- printing ---- */

static bool has_word(const struct buf *list, const char *word) {
    size_t len = strlen(word);
    for (const char *at = list->data; at && *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, word, len) == 0)
            return true;
        at += n;
    }
    return false;
}

static void add_word(struct buf *list, const char *word) {
    if (!has_word(list, word))
        buf_printf(list, "%s%s", list->len ? " " : "", word);
}

/* What stands for one of several words, where they are too many for a line of help. */
static const struct {
    const char *name, *words;
} choices[] = {{"SERVICE", "session_api state_engine ws_fanout audit_writer handoff"},
               {"STATUS", "pending active paused completed cancelled expired"}};

/* What an option's value is. */
static void print_value(const char *command, const char *option, const char *value) {
    size_t i = 0;
    while (i < N_ELEMENTS(choices) && strcmp(value, choices[i].name) != 0)
        i++;
    printf("        '%s %s') ", command, option);
    if (strcmp(value, "FILE") == 0)
        printf("COMPREPLY=($(compgen -f -- \"$word\")); ");
    else if (i < N_ELEMENTS(choices))
        printf("COMPREPLY=($(compgen -W '%s' -- \"$word\")); ", choices[i].words);
    puts("return ;;");
}

/* The verb's own words go to list; of options with values a line each, once a command. */
static void read_form(const struct command *c, const char *form, const char *verb, struct buf *list,
                      struct buf *told) {
    char word[WORD_CAP], option[WORD_CAP] = "";
    bool is_apart;
    for (size_t i = 0; next_word(&form, word, &is_apart); i++) {
        if (i == 0 || (i == 1 && strcmp(word, c->name) == 0) || (i == 2 && strcmp(word, verb) == 0))
            continue;
        if (is_option(word) && list)
            add_word(list, word);
        if (*option && !is_apart && !is_option(word) && strcmp(word, "|") != 0 && told &&
            !has_word(told, option)) {
            add_word(told, option);
            print_value(c->name, option, word);
        }
        snprintf(option, sizeof(option), "%s", is_option(word) ? word : "");
    }
}

/* Its third word where that is a verb; "" else. */
static void verb_of(const char *form, char ret[static WORD_CAP]) {
    char word[WORD_CAP];
    for (int i = 0; i < 3; i++)
        if (!next_word(&form, word, NULL)) {
            ret[0] = '\0';
            return;
        }
    snprintf(ret, WORD_CAP, "%s", is_verb(word) ? word : "");
}

static void print_values(const struct command *c) {
    _cleanup_(buf_done) struct buf told = BUF_NULL;
    char verb[WORD_CAP];
    const char *form = c->usage;
    do {
        verb_of(form, verb);
        read_form(c, form, verb, NULL, &told);
    } while (next_form(&form));
}

/* A line for the command, with its verbs (or, where it has none, its options), and one for each
 * verb. */
static void print_words(const struct command *c) {
    _cleanup_(buf_done) struct buf first = BUF_NULL;
    char verb[WORD_CAP];
    const char *form = c->usage;
    do {
        _cleanup_(buf_done) struct buf list = BUF_NULL;
        verb_of(form, verb);
        read_form(c, form, verb, *verb ? &list : &first, NULL);
        if (!*verb)
            continue;
        add_word(&first, verb);
        add_word(&list, "--help");
        printf("        '%s %s') words='%s' ;;\n", c->name, verb, list.data);
    } while (next_form(&form));
    add_word(&first, "--help");
    printf("        '%s '*) words='%s' ;;\n", c->name, first.data);
}

static void print_bash(void) {
    fputs("# bash completion for handoff. Made by `handoff completion bash`.\n"
          "_handoff() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} words= at=$((COMP_CWORD - 1))\n"
          "    COMPREPLY=()\n"
          "    # --name=value is three words here\n"
          "    if [ \"$word\" = = ]; then word=; elif [ \"${COMP_WORDS[at]}\" = = ]; then at=$((at "
          "- 1)); fi\n"
          "    case \"${COMP_WORDS[1]} ${COMP_WORDS[at]}\" in\n",
          stdout);
    for (const struct command *c = commands; c->name; c++)
        print_values(c);
    fputs("    esac\n"
          "    case \"$((COMP_CWORD > 1)) ${COMP_WORDS[1]}\" in '0 '*) words='--help --version",
          stdout);
    for (const struct command *c = commands; c->name; c++)
        printf(" %s", c->name);
    fputs("' ;; esac\n"
          "    [ -n \"$words\" ] || case \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n",
          stdout);
    for (const struct command *c = commands; c->name; c++)
        print_words(c);
    fputs("    esac\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "}\n"
          "complete -F _handoff handoff\n",
          stdout);
}

int completion_run(int argc, char **argv) {
    size_t n = 0;
    if (!arguments_read(argc, argv, NULL, 0, &n))
        return 2;
    if (n != 1 || strcmp(argv[1], "bash") != 0)
        return arguments_mistake(argv[0], "completion knows bash.");
    print_bash();
    return fflush(stdout) == 0 ? 0 : 1;
}
