// What needs no server: canonical form, checksum, patches, the copy of a session.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { apply, canonical, checksumOf, diff, PatchError } from "../dist/esm/index.js";
import { Replica } from "../dist/esm/replica.js";
import { sha256 } from "../dist/esm/sha256.js";

const example = (name) => JSON.parse(readFileSync(new URL(`../../../proto/examples/${name}.json`, import.meta.url)));

// mulberry32: the same documents in every run.
function random(seed) {
  return (most) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % most;
  };
}

const NAMES = ["a", "b", "a/b", "m~n", "", "toString", "__proto__", "é", "0", "-"];

function value(rand, depth) {
  switch (rand(depth > 3 ? 5 : 8)) {
    case 0: return null;
    case 1: return rand(2) === 0;
    case 2: return rand(1000) / 8;
    case 3: return -rand(1000000);
    case 4: return NAMES[rand(NAMES.length)];
    case 5: return Array.from({ length: rand(4) }, () => value(rand, depth + 1));
    default: {
      const object = {};
      for (let n = rand(5); n > 0; n--) {
        const name = NAMES[rand(NAMES.length)];
        Object.defineProperty(object, name, { value: value(rand, depth + 1), enumerable: true, writable: true, configurable: true });
      }
      return object;
    }
  }
}

test("SHA-256 is that of others, at every length around its blocks", () => {
  for (let n = 0; n < 200; n++) {
    const text = "aé☃😀".repeat(n).slice(0, n);
    const whole = text.toWellFormed?.() ?? text;
    assert.equal(sha256(whole), createHash("sha256").update(whole, "utf8").digest("hex"));
  }
});

test("the canonical form sorts by UTF-16 code units and prints numbers as ECMAScript", () => {
  assert.equal(canonical({ "😀": 1, "\ufb33": 2, a: [1.0, -0, 1e21, 1e-7, "\u001f\u2028"] }), '{"a":[1,0,1e+21,1e-7,"\\u001f\u2028"],"😀":1,"\ufb33":2}');
  assert.equal(canonical({ progress: 75 }), '{"progress":75}');
  assert.equal(checksumOf({ progress: 75 }), "c8dd512a46c03989045a4e04b223e8033f4f3487dafd854e4a42afe1619867ac");
});

test("the checksums of the project's examples", () => {
  for (const name of ["session", "session.paused", "session.completed", "session.clock"]) {
    const { data, checksum } = example(name);
    assert.equal(checksumOf(data), checksum, name);
  }
});

test("RFC 6902, appendix A", () => {
  const cases = [
    [{ foo: "bar" }, [{ op: "add", path: "/baz", value: "qux" }], { foo: "bar", baz: "qux" }],
    [{ foo: ["bar", "baz"] }, [{ op: "add", path: "/foo/1", value: "qux" }], { foo: ["bar", "qux", "baz"] }],
    [{ baz: "qux", foo: "bar" }, [{ op: "remove", path: "/baz" }], { foo: "bar" }],
    [{ foo: ["bar", "qux", "baz"] }, [{ op: "remove", path: "/foo/1" }], { foo: ["bar", "baz"] }],
    [{ baz: "qux", foo: "bar" }, [{ op: "replace", path: "/baz", value: "boo" }], { baz: "boo", foo: "bar" }],
    [{ foo: { bar: "baz", waldo: "fred" }, qux: { corge: "grault" } }, [{ op: "move", from: "/foo/waldo", path: "/qux/thud" }],
      { foo: { bar: "baz" }, qux: { corge: "grault", thud: "fred" } }],
    [{ foo: ["all", "grass", "cows", "eat"] }, [{ op: "move", from: "/foo/1", path: "/foo/3" }], { foo: ["all", "cows", "eat", "grass"] }],
    [{ baz: "qux", foo: ["a", 2, "c"] }, [{ op: "test", path: "/baz", value: "qux" }, { op: "test", path: "/foo/1", value: 2 }],
      { baz: "qux", foo: ["a", 2, "c"] }],
    [{ foo: "bar" }, [{ op: "add", path: "/child", value: { grandchild: {} } }], { foo: "bar", child: { grandchild: {} } }],
    [{ "/": 9, "~1": 10 }, [{ op: "test", path: "/~01", value: 10 }], { "/": 9, "~1": 10 }],
    [{ foo: ["bar"] }, [{ op: "add", path: "/foo/-", value: ["abc", "def"] }], { foo: ["bar", ["abc", "def"]] }],
    [1, [{ op: "replace", path: "", value: { a: 1 } }, { op: "copy", from: "/a", path: "/b" }], { a: 1, b: 1 }],
  ];
  for (const [before, operations, after] of cases) {
    const kept = canonical(before);
    assert.equal(canonical(apply(before, operations)), canonical(after));
    assert.equal(canonical(before), kept, "the document stays as it was");
  }
});

test("what does not fit is refused, with its index and pointer", () => {
  const cases = [
    [{ foo: "bar" }, { op: "add", path: "/baz/bat", value: 1 }],
    [{ foo: [1] }, { op: "add", path: "/foo/2", value: 1 }],
    [{ foo: [1] }, { op: "add", path: "/foo/01", value: 1 }],
    [{ foo: [1] }, { op: "remove", path: "/foo/-" }],
    [{ foo: 1 }, { op: "replace", path: "/bar", value: 1 }],
    [{ foo: 1 }, { op: "remove", path: "" }],
    [{ foo: {} }, { op: "move", from: "/foo", path: "/foo/a" }],
    [{}, { op: "test", path: "/toString", value: 1 }],
    [{}, { op: "add", path: "a", value: 1 }],
    [{ foo: "1" }, { op: "test", path: "/foo", value: 1 }],
  ];
  for (const [document, operation] of cases) {
    assert.throws(() => apply(document, [{ op: "test", path: "", value: document }, operation]),
      (error) => error instanceof PatchError && error.index === 1 && error.pointer === operation.path, JSON.stringify(operation));
  }
});

test("a difference leads from one document to the other", () => {
  const rand = random(1);
  for (let n = 0; n < 3000; n++) {
    const a = value(rand, 0), b = value(rand, 0), kept = canonical(a);
    assert.equal(canonical(apply(a, diff(a, b))), canonical(b));
    assert.equal(canonical(a), kept);
    assert.deepEqual(diff(a, a), []);
  }
});

test("what goes out of the middle of an array is one operation", () => {
  assert.deepEqual(diff([1, 2, 3, 4], [1, 3, 4]), [{ op: "remove", path: "/1" }]);
  assert.deepEqual(diff([1, 2], [1, 2, 3]), [{ op: "add", path: "/-", value: 3 }]);
  assert.deepEqual(diff([1, 2], [0, 1, 2]), [{ op: "add", path: "/0", value: 0 }]);
});

test("the copy of a session takes events in order, once, and notices what is missing or wrong", () => {
  const replica = new Replica();
  const session = { ...example("session"), version: 41, data: { progress: 50 }, checksum: checksumOf({ progress: 50 }) };
  const delta = { ...example("event_state_delta"), checksum: checksumOf({ progress: 75 }) };
  assert.equal(replica.take(delta), "gap");
  replica.replace(session);
  assert.equal(replica.take({ ...delta, version: 43 }), "gap");
  assert.equal(replica.take({ ...delta, epoch: 2 }), "gap");
  assert.equal(replica.take(delta), "applied");
  assert.equal(replica.take(delta), "old");
  assert.deepEqual(replica.session.data, { progress: 75 });
  assert.equal(replica.session.lastModified, delta.timestamp);
  assert.equal(replica.replace(session), false, "an older one is not taken");
  assert.equal(replica.take(example("event_status_changed")), "applied");
  assert.equal(replica.session.status, "paused");
  assert.equal(replica.take({ ...delta, version: 44 }), "applied");
  assert.equal(replica.take({ ...delta, version: 45, checksum: "0".repeat(64) }), "drift");
});
