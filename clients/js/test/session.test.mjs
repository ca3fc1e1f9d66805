// A session on a connection that is the test: what the server says comes at the moment that the test chooses.
import assert from "node:assert/strict";
import { test as nodeTest } from "node:test";
import { apply, checksumOf, HandoffError, MemoryStore, Session } from "../dist/esm/index.js";

const test = (name, work) => nodeTest(name, { timeout: 30000 }, work);
const turn = () => new Promise((resolve) => setImmediate(resolve));
const timestamp = "2026-02-12T12:00:00.000Z";
const count = (n) => [{ op: "replace", path: "/data/n", value: n }];

/** What is kept of a session: each change is told by an event, as the server would. */
class Told {
  constructor(data, { epoch = 1, version = 1 } = {}) {
    Object.assign(this, { data, epoch, version });
  }

  get whole() {
    const { data, epoch, version } = this;
    return { id: "s", name: "", status: "active", role: "owner", data, epoch, version, checksum: checksumOf(data) };
  }

  change(operations, deviceId = "another") {
    this.version++;
    this.data = apply({ data: this.data }, operations).data;
    const { epoch, version } = this;
    return { type: "state_delta", sessionId: "s", epoch, version, timestamp, userId: "u", deviceId, operations, checksum: checksumOf(this.data) };
  }
}

// A session that was told `told`; `sent`: its commands, each with resolve and reject; `asked`: the positions it asked from.
async function begun(t, told) {
  const sent = [], asked = [], conflicts = [];
  const ask = (subscriber) => void asked.push(subscriber.position());
  const send = (command) => new Promise((resolve, reject) => sent.push({ ...structuredClone(command), resolve, reject }));
  const link = { state: "open", subscribe: ask, resubscribe: ask, unsubscribe: () => undefined, send };
  const session = new Session("s", { link: () => link, caller: { deviceId: "here" }, store: new MemoryStore(), closed: () => undefined });
  t.after(() => session.close());
  session.on("conflict", (conflict) => conflicts.push(conflict));
  const ready = session.begin();
  await turn();
  const sync = () => session.take({ type: "state_sync", sessionId: "s", reason: "requested", session: told.whole });
  sync();
  await ready;
  asked.length = 0;
  return { session, sent, asked, conflicts, sync };
}

const conflict = (more) => new HandoffError({ code: "version_conflict", detail: "", ...more });

test("what a conflict brings that does not fit is asked for as a whole; the change is made anew, not taken back", async (t) => {
  for (const wrong of [{ checksum: "0".repeat(64) }, { version: 9 }, { operations: [{ op: "remove", path: "/data/none" }] }, { epoch: 2 }]) {
    const told = new Told({ n: 1 });
    const { session, sent, asked, conflicts, sync } = await begun(t, told);
    const answer = session.patch((data) => void data.n++);
    await turn();
    sent[0].reject(conflict({ deltas: [{ ...told.change(count(10)), ...wrong }] }));
    await turn();
    assert.deepEqual(asked, [null], `asked for as a whole: ${JSON.stringify(wrong)}`);
    assert.equal(session.data.n, 2, "what is shown has the change still");
    assert.equal(sent.length, 1, "nothing leaves on what is not known");
    sync();
    await turn();
    assert.deepEqual([sent[1].key, sent[1].operations, sent[1].baseVersion], [sent[0].key, count(11), 2]);
    sent[1].resolve({ epoch: 1, version: 3 });
    await answer;
    assert.deepEqual(conflicts.map(({ resolved }) => resolved), [true]);
  }
});

test("a conflict that is told while the whole session is on its way takes nothing back", async (t) => {
  const told = new Told({ n: 1 });
  const { session, sent, asked, conflicts, sync } = await begun(t, told);
  const answer = session.patch((data) => void data.n++);
  await turn();
  const missed = told.change(count(10));
  session.take(told.change(count(20))); // without the one before
  assert.deepEqual(asked, [null]);
  sent[0].reject(conflict({ deltas: [missed] }));
  await turn();
  assert.ok(session.data.n > 1, "it can be read meanwhile");
  session.take(told.change(count(30)));
  assert.deepEqual(asked, [null], "once");
  assert.equal(sent.length, 1);
  sync();
  assert.equal(session.data.n, 31);
  await turn();
  assert.deepEqual(sent[1].operations, count(31));
  sent[1].resolve({ epoch: 1, version: 5 });
  await answer;
  assert.deepEqual(conflicts.map(({ resolved }) => resolved), [true]);
});

test("what another page left can be taken over while the whole session is on its way", async (t) => {
  const told = new Told({ n: 1 });
  const { session, asked } = await begun(t, told);
  told.change(count(10));
  session.take(told.change(count(20)));
  assert.deepEqual(asked, [null]);
  const command = { type: "patch", sessionId: "s", key: "k", operations: [{ op: "add", path: "/data/m", value: 1 }], baseVersion: 1, epoch: 1, merge: "disjoint" };
  await session.context.store.put({ command, createdAt: 1, sentAt: null });
  await session.adopt();
  assert.deepEqual(session.data, { n: 1, m: 1 });
});

test("a change that was acknowledged, and is in what a rebuilt session has or not, is not shown on top of it", async (t) => {
  const told = new Told({ n: 1 }, { version: 8 });
  const { session, sent, sync } = await begun(t, told);
  const answer = session.patch(count(2));
  await turn();
  sent[0].resolve({ epoch: 1, version: 9 }); // its event does not come any more
  await answer;
  assert.equal(session.data.n, 2);
  Object.assign(told, { epoch: 2, version: 5 });
  sync();
  assert.equal(session.data.n, 1);
  const next = session.patch(count(3));
  await turn();
  assert.deepEqual([sent[1].baseVersion, sent[1].epoch], [5, 2], "what comes behind it does not wait for its event");
  sent[1].resolve({ epoch: 2, version: 6 });
  await next;
});

test("an acknowledged change that is told by a conflict is shown once", async (t) => {
  const told = new Told({ list: [] });
  const { session, sent } = await begun(t, told);
  const push = (value) => session.patch((data) => void data.list.push(value));
  const first = push("a"), second = push("b");
  await turn();
  const own = told.change(sent[0].operations, "here");
  sent[0].resolve({ epoch: 1, version: own.version });
  await first;
  assert.deepEqual(session.data.list, ["a", "b"]);
  session.take(own);
  await turn();
  const others = told.change([{ op: "add", path: "/data/list/0", value: "c" }]);
  sent[1].reject(conflict({ deltas: [own, others] }));
  await turn();
  assert.deepEqual(session.data.list, ["c", "a", "b"]);
  sent[2].resolve({ epoch: 1, version: told.version + 1 });
  await second;
  session.take(others);
  assert.deepEqual(session.data.list, ["c", "a", "b"]);
});
