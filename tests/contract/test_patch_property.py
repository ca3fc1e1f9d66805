"""The pure JSON layer against independent implementations: python3-jsonpatch for RFC 6902, the few
lines of RFC 7396's own pseudo code, and an RFC 8785 printer written here (numbers by Python's repr).

The C side is tests/contract/patch_tool.c, found in $HANDOFF_BUILD/contract (build/gcc).

Where python3-jsonpatch 1.32 differs from RFC 6902, this file corrects or avoids it:
- `test` compares with ==, and in Python 1 == True and 0 == False;
- `add` past an array's end and some bad indexes raise other exceptions than its own: all count as failed;
- `move` and `copy` onto "-" as a `from` (there is nothing there) raise various exceptions too;
- `replace` refuses "-" even where it is the name of an object's member;
- a string is indexable in Python, so that a path through a string may "exist";
- `remove` of "" and friends do not matter: Handoff lets only /data and /name be written;
- `move` onto itself is skipped without looking whether the value is there.
"""
import copy
import json
import math
import os
import random
import shutil
import struct
import subprocess

import jsonpatch
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SEED = 8785
RELAXED = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))


class Tool:
    """The program; one line in, one line out."""

    def __init__(self, path):
        self.process = subprocess.Popen(
            [path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, request):
        text = json.dumps(request, ensure_ascii=True)
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "bug" not in answer, (answer, request)
        return answer

    def ask_many(self, requests):
        """In slices that fit into the pipes, so that neither side waits for the other for ever."""
        requests = list(requests)
        answers = []
        for start in range(0, len(requests), 200):
            some = requests[start:start + 200]
            self.process.stdin.write(b"".join(json.dumps(r).encode() + b"\n" for r in some))
            self.process.stdin.flush()
            answers += [json.loads(self.process.stdout.readline()) for _ in some]
        return answers

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=10) == 0


@pytest.fixture(scope="module")
def tool():
    path = os.path.join(ROOT, os.environ.get("HANDOFF_BUILD", "build/gcc"), "contract", "patch_tool")
    assert os.path.exists(path), f"{path} is not built; run make test-programs"
    tool = Tool(path)
    yield tool
    tool.close()


# ---- an independent RFC 8785 ----

def es_number(number):
    """ECMA-262 Number::toString over the digits that repr() finds."""
    if number == 0:
        return "0"
    if number < 0:
        return "-" + es_number(-number)
    mantissa, _, exponent = repr(float(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    n = len(digits)
    if n <= point <= 21:
        return digits + "0" * (point - n)
    if 0 < point <= 21:
        return digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    shown = digits[0] + ("." + digits[1:] if n > 1 else "")
    return f"{shown}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def es_string(text):
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f",
             "\r": "\\r"}
    return '"' + "".join(
        short.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in text) + '"'


def es_canonical(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return es_number(value)
    if isinstance(value, str):
        return es_string(value)
    if isinstance(value, list):
        return "[" + ",".join(map(es_canonical, value)) + "]"
    names = sorted(value, key=lambda name: name.encode("utf-16-be"))
    return "{" + ",".join(es_string(n) + ":" + es_canonical(value[n]) for n in names) + "}"


# ---- numbers ----

def bits_of(number):
    return struct.unpack(">Q", struct.pack(">d", number))[0]


def double_of(bits):
    return struct.unpack(">d", struct.pack(">Q", bits))[0]


def many_bits():
    """Each power of two with its neighbours, and random bits; finite ones."""
    for exponent in range(2047):
        for fraction in (0, 1, (1 << 52) - 1):
            yield exponent << 52 | fraction
    for shift in range(52):
        yield 1 << shift
    chance = random.Random(SEED)
    for _ in range(100_000):
        bits = chance.getrandbits(64)
        if bits >> 52 & 2047 != 2047:
            yield bits
    for _ in range(20_000):
        yield bits_of(round(chance.random() * 10 ** chance.randint(0, 12), chance.randint(0, 9)))
        yield bits_of(float(chance.randint(-2 ** 70, 2 ** 70)))


def test_numbers_are_those_of_python_and_node(tool):
    all_bits = list(many_bits())
    answers = tool.ask_many({"op": "number", "bits": f"{bits:016x}"} for bits in all_bits)
    printed = [answer["result"] for answer in answers]
    for bits, text in zip(all_bits, printed):
        assert text == es_number(double_of(bits)), f"{bits:016x}"
    if not shutil.which("node"):
        return
    script = ("const v = new DataView(new ArrayBuffer(8));"
              "for (const l of require('fs').readFileSync(0, 'utf8').trim().split('\\n'))"
              "{ v.setBigUint64(0, BigInt('0x' + l)); console.log(JSON.stringify(v.getFloat64(0))) }")
    node = subprocess.run(["node", "-e", script], text=True, capture_output=True, check=True,
                          input="\n".join(f"{bits:016x}" for bits in all_bits))
    assert node.stdout.split() == printed


# ---- canonical form ----

characters = st.characters(blacklist_categories=("Cs",), blacklist_characters="\0")
strings = st.text(characters, max_size=8)
numbers = st.one_of(
    st.integers(-2 ** 53 + 1, 2 ** 53 - 1), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), numbers, strings)
values = st.recursive(scalars, lambda inner: st.one_of(
    st.lists(inner, max_size=5), st.dictionaries(strings, inner, max_size=5)), max_leaves=20)


@RELAXED
@given(values, st.booleans())
def test_canonical_form_is_that_of_rfc_8785(tool, value, ascii_only):
    answer = tool.ask({"op": "canonical", "text": json.dumps(value, ensure_ascii=ascii_only)})
    assert answer["result"]["text"] == es_canonical(value)


@RELAXED
@given(st.lists(st.text(st.sampled_from("a\ue000\uffff\ud7ff\U00010000\U0010ffff\x7f\x80"),
                        max_size=4), unique=True, max_size=40))
def test_members_are_sorted_by_utf_16_units(tool, names):
    value = dict.fromkeys(names, 1)
    answer = tool.ask({"op": "canonical", "text": json.dumps(value)})
    assert answer["result"]["text"] == es_canonical(value)


@RELAXED
@given(st.integers(-10 ** 25, 10 ** 25))
def test_integer_literals_are_kept_digit_for_digit_or_refused(tool, number):
    answer = tool.ask({"op": "canonical", "text": f"[{number}]"})
    try:
        exact = es_number(float(number)) == str(number)
    except OverflowError:
        exact = False
    if exact:
        assert answer["result"]["text"] == f"[{number}]"
    else:
        assert answer["code"] == "invalid_json"


# ---- RFC 6902 ----

def same(a, b):
    """Equality as RFC 6902, section 4.6 has it."""
    return es_canonical(a) == es_canonical(b)


NAMES = ["a", "b", "0", "1", "01", "-", "", "a/b", "m~n", "~1"]
small = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([1.0, 0.5, "", "a"])),
    lambda inner: st.one_of(st.lists(inner, max_size=4),
                            st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)),
    max_leaves=12)


def escape(token):
    return token.replace("~", "~0").replace("/", "~1")


def paths_of(value, above):
    yield above
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths_of(inner, f"{above}/{escape(name)}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from paths_of(inner, f"{above}/{i}")
        yield f"{above}/-"
        yield f"{above}/{len(value)}"


def some_path(chance, resource):
    known = list(paths_of(resource["data"], "/data")) + ["/name"]
    path = chance.choice(known)
    while path != "/name" and chance.random() < 0.25:
        path += "/" + escape(chance.choice(NAMES))
    return path


def some_operation(chance, resource, draw):
    op = chance.choice(["add", "add", "replace", "remove", "move", "copy", "test"])
    operation = {"op": op, "path": some_path(chance, resource)}
    if op in ("move", "copy"):
        operation["from"] = some_path(chance, resource)
    if op in ("add", "replace", "test"):
        operation["value"] = draw(small)
    if op == "test" and chance.random() < 0.7:
        try:
            operation["value"] = find(resource, operation["path"])
        except LookupError:
            pass
    return operation


def tokens_of(path):
    return [t.replace("~1", "/").replace("~0", "~") for t in path.split("/")[1:]]


def find(value, path):
    """RFC 6901 to the letter; LookupError when nothing is there."""
    for token in tokens_of(path):
        if isinstance(value, list):
            if not (token == "0" or (token.isascii() and token.isdigit() and token[0] != "0")):
                raise LookupError(path)
            value = value[int(token)]
        elif isinstance(value, dict):
            value = value[token]
        else:
            raise LookupError(path)
    return value


def reference_apply(resource, operations):
    """jsonpatch, one operation at a time, with its mistakes corrected; None when it must fail."""
    resource = copy.deepcopy(resource)
    for operation in operations:
        try:
            if operation["op"] in ("replace", "remove", "test"):
                there = find(resource, operation["path"])
            if operation["op"] in ("move", "copy"):
                find(resource, operation["from"])
            if operation["op"] in ("add", "move", "copy") and operation["path"].count("/") > 1:
                above, _, last = operation["path"].rpartition("/")
                parent = find(resource, above)
                if not isinstance(parent, (dict, list)):
                    return None
                index_like = last in ("-", "0") or (last.isdigit() and last[0] != "0")
                if isinstance(parent, list) and not index_like:
                    return None
            if operation["op"] == "move" and operation["path"].startswith(operation["from"] + "/"):
                return None
            if operation["op"] == "test":
                if not same(there, operation["value"]):
                    return None
                continue
            if operation["op"] == "replace" and operation["path"].endswith("/-"):
                resource = copy.deepcopy(resource)
                find(resource, operation["path"][:-2])["-"] = operation["value"]
                continue
            resource = jsonpatch.apply_patch(resource, [copy.deepcopy(operation)])
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, LookupError, TypeError):
            return None
    return resource


def is_name(value):
    return isinstance(value, str) and 1 <= len(value) <= 255


def is_valid(resource):
    return "data" in resource and is_name(resource.get("name"))


def told(resource, operations):
    """The operations without their tests; a name that was moved or copied, there or away, with its value."""
    kept = []
    for operation in operations:
        moves, before = operation["op"] == "move", resource.get("name")
        had_name = "name" in resource and not (moves and operation["from"] == "/name")
        resource = reference_apply(resource, [operation])
        to_name, from_name = operation["path"] == "/name", operation.get("from") == "/name"
        name = resource.get("name") if to_name else before
        if operation["op"] in ("move", "copy") and (to_name or from_name) and is_name(name):
            if moves:
                kept.append({"op": "remove", "path": operation["from"]})
            kept.append({"op": "replace" if to_name and had_name else "add", "path": operation["path"],
                         "value": name})
        elif operation["op"] != "test":
            kept.append(operation)
    return kept


@settings(RELAXED, max_examples=1000)
@given(st.data())
def test_patches_do_what_jsonpatch_does(tool, data):
    chance = data.draw(st.randoms(use_true_random=False))
    resource = {"version": 3, "name": "n", "data": data.draw(small)}
    operations, now = [], resource
    for _ in range(chance.randint(1, 6)):
        if "data" not in now:
            break
        operations.append(some_operation(chance, now, data.draw))
        after = reference_apply(now, operations[-1:])
        now = now if after is None else after
        if after is None and chance.random() < 0.7:
            operations.pop()  # else most patches would fail early
    assume(operations)
    expected = reference_apply(resource, operations)
    answer = tool.ask({"op": "apply", "resource": resource, "operations": operations})
    writes = any(operation["op"] != "test" for operation in operations)
    if expected is None:
        assert answer["code"] == "patch_failed", (answer, resource, operations)
        assert 0 <= answer["index"] < len(operations)
        assert answer["pointer"] in (operations[answer["index"]]["path"],
                                     operations[answer["index"]].get("from"))
    elif writes and not is_valid(expected):
        assert answer["code"] == "invalid_value", (answer, resource, operations)
    else:
        assert same(answer["result"]["document"], expected), (answer, resource, operations)
        assert answer["result"]["writes"] == writes
        assert same(answer["result"]["operations"], told(resource, operations))
        assert same(reference_apply(resource, answer["result"]["operations"]), expected)


@RELAXED
@given(small, st.integers(2, 60), st.integers(0, 4), st.data())
def test_limits_are_kept_to_the_byte(tool, value, max_bytes, max_depth, data):
    chance = data.draw(st.randoms(use_true_random=False))
    resource = {"name": "n", "data": {}}
    operation = {"op": "add", "path": chance.choice(["/data", "/data/a"]), "value": value}
    expected = reference_apply(resource, [operation])

    def depth(v):
        inner = v if isinstance(v, list) else v.values() if isinstance(v, dict) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)
    size = len(es_canonical(expected["data"]).encode())
    fits = size <= max(max_bytes, 2) and depth(value) + (operation["path"] != "/data") <= max_depth
    if depth(value) == 0 and size <= max_bytes:
        fits = True
    answer = tool.ask({"op": "apply", "resource": resource, "operations": [operation],
                       "maxBytes": max_bytes, "maxDepth": max_depth})
    assert ("result" in answer) == fits, (answer, operation, max_bytes, max_depth)
    assert fits or answer["code"] == "state_too_large"


# ---- RFC 7396 ----

def merge_patch(target, patch):
    """Section 2 of the RFC, word for word."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merge_patch(target.get(name), value)
    return target


@RELAXED
@given(small, small.filter(lambda value: value is not None))
def test_merges_do_what_rfc_7396_says(tool, before, patch):
    resource = {"name": "n", "data": before}
    answer = tool.ask({"op": "merge", "resource": resource, "patch": {"data": patch}})
    expected = merge_patch(resource, {"data": patch})
    assert same(answer["result"]["document"], expected)
    assert answer["result"]["writes"] == (not same(resource, expected))


@pytest.mark.parametrize("n", [999, 1000, 1001, 3000])
def test_large_merges_are_folded_into_the_nearest_ancestor(tool, n):
    resource = {"name": "n", "data": {"a": {"b": {}}, "c": 1}}
    patch = {"name": "m", "data": {"a": {"b": {str(i): i for i in range(n)}}, "c": 1}}
    answer = tool.ask({"op": "merge", "resource": resource, "patch": patch})
    assert same(answer["result"]["document"], merge_patch(resource, patch))
    paths = [operation["path"] for operation in answer["result"]["operations"]]
    if n < 1000:
        assert len(paths) == n + 1
    else:
        assert paths == ["/name", "/data/a/b"]


# ---- overlap ----

def places(operation, reads):
    def written(path):
        above, _, last = path.rpartition("/")
        element = last == "-" or (last.isascii() and last.isdigit())
        return above if element and operation["op"] != "replace" else path
    if operation["op"] == "test":
        return [operation["path"]] if reads else []
    found = [written(operation["path"])]
    if operation["op"] == "move":
        found.append(written(operation["from"]))
    elif operation["op"] == "copy" and reads:
        found.append(operation["from"])
    return found


@settings(RELAXED, max_examples=500)
@given(st.data())
def test_overlaps_are_found_as_by_comparing_all_pairs(tool, data):
    chance = data.draw(st.randoms(use_true_random=False))
    tokens = st.lists(st.sampled_from(["a", "b", "ab", "", "0", "12", "-", "~1"]), max_size=4)

    def patch(most):
        operations = []
        for _ in range(chance.randint(0, most)):
            op = chance.choice(["add", "remove", "replace", "move", "copy", "test"])
            operation = {"op": op, "path": "/".join(["/data"] + data.draw(tokens)), "value": 1}
            if op in ("move", "copy"):
                operation["from"] = "/".join(["/data"] + data.draw(tokens))
            operations.append(operation)
        return operations
    operations, since = patch(3), patch(5)
    split = str.split
    pairs = [(split(r, "/"), split(w, "/")) for o in operations for r in places(o, True)
             for s in since for w in places(s, False)]
    expected = any(r[:len(w)] == w or w[:len(r)] == r for r, w in pairs)
    answer = tool.ask({"op": "overlaps", "operations": operations, "since": since})
    assert answer["result"] == expected, (operations, since)


def test_the_reference_itself_knows_rfc_8785s_examples():
    assert es_number(1e21) == "1e+21"
    assert es_number(1e-7) == "1e-7"
    assert es_number(123456789012345680000.0) == "123456789012345680000"
    assert es_number(0.000001) == "0.000001"
    assert not math.isnan(double_of(1))
