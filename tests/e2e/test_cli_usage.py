"""What handoff says of itself is the same everywhere: --help, the options that each verb takes, completion, the man page."""

import re
import subprocess

import pytest

from cli import HANDOFF, clean, ended
from harness import ROOT, SECRET

COMMAND, OPTION = re.compile("[a-z][a-z-]*"), re.compile(r"--[a-z][a-z-]*")


def handoff(*words, code=0):
    """stdout, or, where it ends with another code, stderr."""
    done = ended(*words, code=code)
    return done.stderr if code else done.stdout


def forms_of(synopsis):
    """[(command, verb or "", its options)]"""
    for form in re.sub(r"\n {8,}", " ", synopsis.replace("usage: ", "       ")).splitlines():
        words = form.split()[1:]
        if words and COMMAND.fullmatch(words[0]):
            verb = words[1] if words[1:] and COMMAND.fullmatch(words[1]) else ""
            yield words[0], verb, set(OPTION.findall(form))


FORMS = list(forms_of(handoff("--help").partition("\n\n")[0]))
COMMANDS = sorted({command for command, _, _ in FORMS})


def test_there_are_as_many_as_there_should_be():
    assert len(FORMS) >= 20 and len(COMMANDS) == 11


@pytest.mark.parametrize("command, verb", sorted({(command, verb) for command, verb, _ in FORMS if command != "completion"}))
def test_help_names_exactly_the_options_that_are_taken(command, verb):
    """As the mistake names them that an unknown one is."""
    told = handoff(command, *filter(None, [verb]), "--of-no-use", code=2)
    named = {option for c, v, options in FORMS if (c, v) == (command, verb) for option in options}
    assert told.startswith(f"handoff: {command} {verb}".rstrip() + " has no option --of-no-use. It takes ")
    assert set(OPTION.findall(told.partition("It takes")[2].partition("\n")[0])) == named
    assert told.endswith(f"Try handoff {command} {verb}".rstrip() + " --help.\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal_and_explains_each_option(command):
    text = handoff(command, "--help")
    assert handoff(command, "list", "--user", "-h", "--help") == text == handoff("help", command)
    synopsis, explained = text.partition("\nConfigured by")[0].split("\n\n", 1)
    assert list(forms_of(synopsis)) == [form for form in FORMS if form[0] == command]
    for line in f"{synopsis}\n{explained}".splitlines():
        assert len(line) <= 80, line
    assert set(OPTION.findall(synopsis)) == set(OPTION.findall(explained))
    assert "Ends with 0" in explained or command == "completion"


@pytest.mark.parametrize("words, meant", [(["sesions"], "sessions"), (["dead-letter"], "dead-letters"), (["sessions", "lits"], "list"),
                                          (["token", "chekc"], "check"), (["bench", "--seconsd", "1"], "--seconds")])
def test_what_was_meant_is_guessed(words, meant):
    assert f"Is {meant} meant?" in handoff(*words, code=2)


def test_who_says_nothing_or_nonsense_is_told_the_commands():
    for words in ([], ["burn"], ["help", "burn"]):
        assert handoff(*words, code=2).endswith("Its commands: " + " ".join(COMMANDS) + "\n")
    assert handoff("-h") == handoff("help") == handoff("--help")


def test_the_kinds_of_events_are_those_of_the_code():
    kinds = set(re.findall(r'X\(EVENT_\w+, "\w+", "(\w+)"', (ROOT / "proto" / "event.h").read_text()))
    told = handoff("tail", "session.*.x", code=2).partition("one of: ")[2].partition(".")[0]
    explained = handoff("tail", "--help").partition("Kinds: ")[2].partition("--buffer")[0]
    assert len(kinds) > 10 and kinds == set(told.split()) == set(re.split(r"[,\s]+", explained.strip()))


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["help", "tail"], ["completion", "bash"], ["config"],
                                   ["token", "new", "--sub", "a"], ["doctor", "--service", "handoff"]], ids=" ".join)
def test_what_could_not_be_written_was_not_done(words):
    env = clean(HANDOFF_JWT_SECRET=SECRET, **{name: f"{scheme}://a:b@127.0.0.1:1/x" for name, scheme in (
        ("HANDOFF_AMQP_URL", "amqp"), ("HANDOFF_DATABASE_URL", "postgres"))}, HANDOFF_REDIS_URL="redis://127.0.0.1:1")
    with open("/dev/full", "w") as full:
        done = subprocess.run([HANDOFF, *words], stdout=full, stderr=subprocess.PIPE, text=True, env=env, timeout=60)
    assert (done.returncode, done.stderr) == (1, "handoff: not all of it could be written to stdout.\n")


# ---- the man page ----

def test_the_man_page_has_every_form_and_option():
    page = (ROOT / "compose" / "debian" / "handoff.1").read_text()
    page = re.sub(r"\\f[A-Z]", "", page).replace("\\-", "-")
    synopsis = page.partition(".SH SYNOPSIS\n")[2].partition(".SH DESCRIPTION\n")[0]
    named = [form.removeprefix(".B ").replace("\n", " ") for form in synopsis.split(".br\n")]
    assert sorted(forms_of("\n".join(" " * 7 + form for form in named)), key=str) == sorted(FORMS, key=str)
    for command in COMMANDS:
        own = page.partition(f".SS {command}\n")[2]
        assert own, command
        own = re.split(r"\n\.S[SH] ", own)[0]
        explained = {option for term in re.findall(r"^\.TP\n(.*)$", own, re.M) for option in OPTION.findall(term)}
        alone = {"--all", "--yes"} if command == "dead-letters" else set()  # behind ID, and behind drop
        assert explained | alone == {option for c, _, options in FORMS if c == command for option in options}, command
        assert alone <= set(OPTION.findall(own))


# ---- completion ----

def complete(*words):
    """What bash offers for the last of the words."""
    script = ('. <("$1" completion bash); shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _handoff; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", HANDOFF, *words], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not done.stderr, done.stderr
    return done.stdout.split()


def test_completion_has_every_command_verb_and_option():
    assert {*COMMANDS, "--help", "--version"} == set(complete("handoff", ""))
    for command, verb, options in FORMS:
        asked = ("handoff", command, *([verb] if verb else []))
        assert not verb or verb in complete("handoff", command, "")
        assert options <= set(complete(*asked, "--")), (asked, options)


def test_completion_of_values():
    assert complete("handoff", "do") == ["doctor"]
    assert complete("handoff", "doctor", "--service", "s") == ["session_api", "state_engine"]
    assert complete("handoff", "doctor", "--service", "=", "s") == ["session_api", "state_engine"]
    assert complete("handoff", "sessions", "list", "--status", "=") == ["pending", "active", "paused", "completed", "cancelled", "expired"]
    assert "README.md" in complete("handoff", "token", "new", "--key", "READ")
    assert complete("handoff", "token", "new", "--sub", "") == []
    assert complete("handoff", "nothing", "") == []
