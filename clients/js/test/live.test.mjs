// Against the real services: devices in sync, conflicts, lost connections, closed tabs.
import assert from "node:assert/strict";
import { test as nodeTest } from "node:test";
import { checksumOf, Handoff, HandoffError, MemoryStore } from "../dist/esm/index.js";
import { apiUrl, heard, person, proxy, socketUrl, token, until, WebSocket } from "./stack.mjs";

const test = (name, work) => nodeTest(name, { timeout: 60000 }, work);
const progress = (n) => [{ op: "replace", path: "/data/progress", value: n }];
const meditation = { name: "Evening meditation", type: "meditation", data: { progress: 0, notes: [] } };

test("two devices see each other's changes, at once here and soon there", async (t) => {
  const { device } = person(t);
  const onPhone = await device("phone").create(meditation);
  const onLaptop = await device("laptop").open(onPhone.sessionId);
  const told = until(onLaptop, (s) => s.data.progress === 75);
  const answer = onPhone.patch((data) => void (data.progress = 75));
  assert.equal(onPhone.data.progress, 75, "at once");
  assert.equal(onPhone.sync.unsent, 1);
  const ack = await answer;
  assert.equal(ack.version, 2);
  await told;
  assert.equal(onLaptop.confirmed.checksum, checksumOf(onLaptop.data));
  await until(onPhone, (s) => s.sync.unsent === 0 && s.confirmed.version === 2);
});

test("a session that is not there is an error with its code", async (t) => {
  const { device } = person(t);
  await assert.rejects(device("phone").open("0197a1b2-0000-7000-8000-000000000000"), (e) => e instanceof HandoffError && e.code === "not_found");
});

test("a handoff: paused here, active there; and a takeover without a pause", async (t) => {
  const { device } = person(t);
  const onPhone = await device("phone").create(meditation);
  const onLaptop = await device("laptop").open(onPhone.sessionId);
  assert.equal(onPhone.isActiveHere, true);
  await onPhone.pause();
  await until(onLaptop, (s) => s.status === "paused");
  await onLaptop.activate();
  await until(onPhone, (s) => s.activeDeviceId === "laptop");
  assert.equal(onPhone.isActiveHere, false);
  await onPhone.activate();
  await until(onLaptop, (s) => s.activeDeviceId === "phone");
});

test("changes of different things merge; of the same thing a function is called again with what there is", async (t) => {
  const { device } = person(t);
  const phone = await device("phone").create({ ...meditation, data: { count: 0, left: 0, right: 0 } });
  const laptop = await device("laptop").open(phone.sessionId);
  await Promise.all([phone.patch((d) => void d.left++), laptop.patch((d) => void d.right++)]);
  await until(phone, (s) => s.data.left === 1 && s.data.right === 1);
  const conflicts = [];
  for (const session of [phone, laptop]) {
    session.on("conflict", (c) => conflicts.push(c));
  }
  const increments = Array.from({ length: 20 }, (_, i) => (i % 2 ? phone : laptop).patch((d) => void d.count++));
  await Promise.all(increments);
  await Promise.all([phone, laptop].map((session) => until(session, (s) => s.confirmed.data.count === 20)));
  assert.ok(conflicts.every((c) => c.code === "version_conflict" && c.resolved && c.reason));
  assert.equal(phone.confirmed.version, laptop.confirmed.version);
});

test("a change that is not to be made anew is taken back, and says why", async (t) => {
  const { device } = person(t);
  const phone = await device("phone").create(meditation);
  const laptop = await device("laptop").open(phone.sessionId);
  const conflicts = [];
  phone.on("conflict", (c) => conflicts.push(c));
  // Both send what they made of the same version; the engine takes one after the other, and the laptop's first, but for a rare round.
  for (let n = 1; conflicts.length === 0; n++) {
    const changes = [laptop.patch(progress(`laptop ${n}`)), phone.patch(progress(`phone ${n}`), { onConflict: "reject" })];
    const [theirs, mine] = await Promise.allSettled(changes);
    const last = Math.max(theirs.value.version, mine.value?.version ?? 0);
    await until(phone, (s) => s.confirmed.version >= last);
    await until(laptop, (s) => s.confirmed.version >= last);
    if (mine.status === "rejected") {
      assert.equal(mine.reason.code, "version_conflict");
      assert.equal(phone.data.progress, `laptop ${n}`);
    }
  }
  assert.equal(conflicts[0].resolved, false);
  assert.equal(conflicts[0].code, "version_conflict");
  assert.ok(conflicts[0].reason);
});

test("what is refused is taken back: the data is the server's again", async (t) => {
  const { device, user } = person(t);
  const owner = await device("phone").create(meditation);
  const viewer = person(t);
  const put = await fetch(`${apiUrl}/sessions/${owner.sessionId}/participants/${viewer.user}`, {
    method: "PUT",
    headers: { Authorization: `Bearer ${token(user)}`, "X-Device-Id": "phone", "Content-Type": "application/json" },
    body: '{"role":"viewer"}',
  });
  assert.equal(put.status, 204);
  const seen = await viewer.device("tablet").open(owner.sessionId);
  assert.equal(seen.role, "viewer");
  const change = seen.patch(progress(9));
  assert.equal(seen.data.progress, 9);
  await assert.rejects(change, (e) => e.code === "forbidden");
  assert.equal(seen.data.progress, 0);
  assert.equal(seen.sync.unsent, 0);
});

test("without a connection changes wait, and then leave in order, each once", async (t) => {
  const { device } = person(t);
  const link = await proxy(t, socketUrl);
  const phone = await device("phone", { socketUrl: link.url }).create({ ...meditation, data: { list: [] } });
  const laptop = await device("laptop").open(phone.sessionId);
  link.cut();
  await until(phone, (s) => s.sync.state === "offline");
  const answers = [1, 2, 3, 4, 5].map((n) => phone.patch((d) => void d.list.push(n)));
  await laptop.patch((d) => void (d.elsewhere = true));
  assert.deepEqual(phone.data.list, [1, 2, 3, 4, 5]);
  assert.equal(phone.sync.unsent, 5);
  link.mend();
  await Promise.all(answers);
  await Promise.all([phone, laptop].map((session) => until(session, (s) => s.data.list.length === 5 && s.data.elsewhere)));
  assert.deepEqual(laptop.data.list, [1, 2, 3, 4, 5]);
  await until(phone, (s) => s.confirmed.version >= 7);
  assert.equal(phone.confirmed.version, 7);
});

test("connections that are cut again and again lose nothing and do nothing twice", async (t) => {
  const { device } = person(t);
  const link = await proxy(t, socketUrl);
  const phone = await device("phone", { socketUrl: link.url }).create({ ...meditation, data: { list: [] } });
  const laptop = await device("laptop").open(phone.sessionId);
  const answers = [];
  for (let n = 0; n < 60; n++) {
    answers.push(phone.patch((d) => void d.list.push(n)));
    if (n % 6 === 5) {
      await answers[n - 3];
      link.cut(); // with the later ones on their way
      link.mend();
    }
  }
  await Promise.all(answers);
  await until(laptop, (s) => s.confirmed.version >= 61);
  assert.deepEqual(laptop.data.list, Array.from({ length: 60 }, (_, n) => n));
  assert.equal(laptop.confirmed.version, 61);
});

test("what a closed tab left unsent is sent by the next one", async (t) => {
  const { device } = person(t);
  const store = new MemoryStore();
  const link = await proxy(t, socketUrl);
  const before = device("phone", { socketUrl: link.url, store });
  const phone = await before.create(meditation);
  link.cut();
  await until(phone, (s) => s.sync.state === "offline");
  phone.patch(progress(42)).catch(() => undefined);
  before.close();
  assert.equal((await store.load(phone.sessionId)).length, 1);
  const after = await device("phone", { store }).open(phone.sessionId);
  await until(after, (s) => s.confirmed.data.progress === 42 && s.sync.unsent === 0);
  await until(after, () => true);
  assert.deepEqual(await store.load(phone.sessionId), []);
});

test("without WebSockets: event streams and REST do the same", async (t) => {
  const { device } = person(t);
  const handoff = device("phone", { WebSocket: null });
  const phone = await handoff.create(meditation);
  const laptop = await device("laptop").open(phone.sessionId);
  assert.equal(handoff.connection.transport, "stream");
  await phone.patch(progress(10));
  await until(laptop, (s) => s.data.progress === 10);
  await laptop.patch(progress(20));
  await until(phone, (s) => s.data.progress === 20);
  await phone.pause();
  await until(laptop, (s) => s.status === "paused");
});

test("where something on the way lets no WebSocket through, streams are used", async (t) => {
  const { device } = person(t);
  class Refused {
    constructor() {
      setTimeout(() => this.onclose({ code: 1006, reason: "" }));
    }
    close() {}
    send() {}
  }
  const handoff = device("phone", { WebSocket: Refused });
  const phone = await handoff.create(meditation);
  assert.equal(handoff.connection.transport, "stream");
  await phone.patch(progress(10));
  assert.equal(phone.data.progress, 10);
});

test("a token that is not good stops the connection, and says so; with another one it goes on", async (t) => {
  const { device, user } = person(t);
  const { sessionId } = await device("laptop").create(meditation);
  let good = false;
  const handoff = device("phone", { getToken: () => (good ? token(user) : token(user, { seconds: -100 })) });
  const stopped = heard(handoff, "state", (s) => s.state === "stopped");
  await assert.rejects(handoff.open(sessionId), (e) => /unauthenticated|token_expired/.test(e.code));
  assert.match((await stopped).problem.code, /unauthenticated|token_expired/);
  good = true;
  handoff.reconnect();
  assert.equal((await handoff.open(sessionId)).data.progress, 0);
});

test("a token that runs out is replaced before it does", async (t) => {
  const { device, user } = person(t);
  const { sessionId } = await device("laptop").create(meditation);
  let n = 0, asked;
  const askedAgain = new Promise((resolve) => (asked = resolve));
  const getToken = () => {
    if (n++ > 0) {
      asked();
    }
    return token(user, { seconds: n === 1 ? 62 : 3600 });
  };
  const handoff = device("phone", { getToken });
  const states = [];
  handoff.on("state", (s) => states.push(s.state));
  const phone = await handoff.open(sessionId);
  await askedAgain;
  await phone.patch(progress(1));
  assert.deepEqual(states.filter((s) => s !== "connecting"), ["open"], "on the same connection");
});

test("devices that join and leave are told, and messages go to the others", async (t) => {
  const { device } = person(t);
  const phone = await device("phone").create(meditation);
  const joined = heard(phone, "devices", (d) => d.joined.includes("laptop"));
  const laptop = await device("laptop", { device: { id: "laptop", name: "Ada's laptop", platform: "linux" } }).open(phone.sessionId);
  assert.equal((await joined).name, "Ada's laptop");
  const bell = heard(laptop, "broadcast");
  await phone.broadcast({ cue: "bell" });
  assert.deepEqual(await bell, { message: { cue: "bell" }, deviceId: "phone" });
});

test("a deleted session is lost, and says so; what was unsent is rejected", async (t) => {
  const { device, user } = person(t);
  const phone = await device("phone").create(meditation);
  const lost = heard(phone, "lost");
  const answer = await fetch(`${apiUrl}/sessions/${phone.sessionId}`, {
    method: "DELETE", headers: { Authorization: `Bearer ${token(user)}`, "X-Device-Id": "laptop" },
  });
  assert.equal(answer.status, 204);
  assert.equal((await lost).code, "not_found");
  assert.equal(phone.sync.state, "closed");
});

test("a change too large for a frame goes by REST", async (t) => {
  const { device } = person(t);
  const phone = await device("phone").create(meditation);
  const laptop = await device("laptop").open(phone.sessionId);
  await phone.patch((d) => void (d.text = "x".repeat(100000)));
  await until(laptop, (s) => s.data.text?.length === 100000);
});

test("a clock: the turn goes from device to device", async (t) => {
  const { device } = person(t);
  const clock = { mode: "per_participant", totalTimeMs: 300000, participants: [{ participantId: "white" }, { participantId: "black" }] };
  const white = await device("phone").create({ ...meditation, clock });
  const black = await device("laptop").open(white.sessionId);
  assert.equal(black.clock.activeParticipantId, "white");
  await white.switchTurn();
  await until(black, (s) => s.clock.activeParticipantId === "black");
  await assert.rejects(white.switchTurn({ currentParticipantId: "white" }), (e) => e.code === "not_active_participant");
});

test("a copy that drifted is noticed by its checksum, and replaced", async (t) => {
  const { device } = person(t);
  const phone = await device("phone").create(meditation);
  const laptop = await device("laptop").open(phone.sessionId);
  phone.replica.session.data = { progress: 0, notes: ["never happened"] };
  await laptop.patch(progress(5));
  await until(phone, (s) => s.data.progress === 5);
  await until(phone, (s) => s.sync.state === "synced");
  assert.deepEqual(phone.data, { progress: 5, notes: [] });
});

test("a session that is closed and opened again at once is open", async (t) => {
  const { device } = person(t);
  const handoff = device("phone");
  const { sessionId } = await handoff.create(meditation);
  for (let n = 0; n < 5; n++) {
    (await handoff.open(sessionId)).close();
  }
  const phone = await handoff.open(sessionId);
  await phone.patch(progress(1));
  assert.equal(phone.sync.state, "synced");
  await assert.rejects(Promise.all([handoff.open("0197a1b2-0000-7000-8000-000000000000"), handoff.close()]), (e) => e.code === "closed");
  await assert.rejects(phone.patch(progress(2)), (e) => e.code === "closed");
});

test("after a conflict a function is asked, also when what it did first does not fit any more", async (t) => {
  const { device } = person(t);
  const link = await proxy(t, socketUrl);
  const phone = await device("phone", { socketUrl: link.url }).create({ ...meditation, data: { list: [1, 2, 3] } });
  const laptop = await device("laptop").open(phone.sessionId);
  link.cut();
  await until(phone, (s) => s.sync.state === "offline");
  const popped = phone.patch((d) => void d.list.pop());
  // It arrives first, on the old base: by REST, as the phone would have sent it if the network had not gone.
  await laptop.patch((d) => void d.list.splice(1, 2));
  phone.take = () => undefined; // what was missed comes with the conflict
  phone.isSynced = true;
  phone.context.link = () => ({ ...link, state: "open", send: (command) => laptop.context.link().send(command), unsubscribe: () => undefined });
  phone.outbox.setOpen(true);
  await popped;
  await until(laptop, (s) => s.data.list.length === 0);
});

test("changes right behind each other are no conflict with each other", async (t) => {
  const { device } = person(t);
  for (const WebSocketOrNot of [{}, { WebSocket: null }]) {
    const phone = await device("phone", WebSocketOrNot).create(meditation);
    const conflicts = [];
    phone.on("conflict", (c) => conflicts.push(c));
    await Promise.all(Array.from({ length: 30 }, (_, n) => phone.patch(progress(n), { onConflict: "reject" })));
    assert.equal(phone.data.progress, 29);
    assert.deepEqual(conflicts, []);
  }
});

test("a function that changes its data and returns something else is told so; undefined members are none", async (t) => {
  const { device } = person(t);
  const phone = await device("phone").create({ ...meditation, data: { count: 0, note: "x" } });
  assert.throws(() => phone.patch((d) => d.count++), TypeError);
  assert.deepEqual(phone.data, { count: 0, note: "x" });
  await phone.patch((d) => void ((d.note = undefined), (d.at = new Date(0))));
  assert.deepEqual(phone.data, { count: 0, at: "1970-01-01T00:00:00.000Z" });
});

// What a device has that knows where Handoff is, and nothing else.
function unknown(t, options = {}) {
  const more = { socketUrl, WebSocket, store: new MemoryStore(), ...options };
  const close = ({ handoff }) => t.after(() => handoff.close());
  return {
    redeem: async (code, own) => {
      const redeemed = await Handoff.redeem(apiUrl, code, { ...more, ...own });
      close(redeemed);
      return redeemed;
    },
    withToken: (kept) => {
      const handoff = Handoff.withToken(apiUrl, kept, { ...more, store: new MemoryStore() });
      close({ handoff });
      return handoff;
    },
  };
}

test("a code lets another device of the same person in, once", async (t) => {
  const { device, user } = person(t);
  const laptop = await device("laptop").create(meditation);
  const joined = heard(laptop, "devices", (d) => d.joined.includes("phone"));
  const { code, url } = await laptop.handoffCode();
  assert.ok(url.includes(code));
  assert.match(await laptop.qrCode(code), /^(<\?xml|<svg)/);
  const { redeem } = unknown(t);
  const own = { getToken: () => token(user), device: { id: "phone", name: "Ada's phone" } };
  const { session: phone } = await redeem(code, own);
  assert.equal((await joined).name, "Ada's phone");
  assert.equal(phone.role, "owner");
  await phone.patch(progress(5));
  await until(laptop, (s) => s.data.progress === 5);
  await assert.rejects(redeem(code, { ...own, device: { id: "tablet" } }), (e) => e instanceof HandoffError && e.code === "not_found");
});

test("another person gets the role that the code offers", async (t) => {
  const laptop = await person(t).device("laptop").create(meditation);
  const { code } = await laptop.handoffCode({ role: "viewer", ttlSeconds: 60 });
  const { user } = person(t);
  const { session } = await unknown(t).redeem(code, { getToken: () => token(user), device: { id: "tablet" } });
  assert.equal(session.role, "viewer");
  await assert.rejects(session.patch(progress(1)), (e) => e.code === "forbidden");
});

test("a device without a login gets a token for the session; kept, it goes on with it after a reload", async (t) => {
  const laptop = await person(t).device("laptop").create(meditation);
  for (const [offer, role] of [[{}, "owner"], [{ role: "editor" }, "editor"]]) {
    const { code } = await laptop.handoffCode(offer);
    const told = [];
    const { redeem, withToken } = unknown(t);
    const { handoff, session } = await redeem(code, { onToken: (kept) => told.push(kept) });
    assert.equal(session.role, role);
    assert.equal(told.length, 1);
    assert.equal(told[0].deviceId, handoff.deviceId);
    await session.patch((d) => void d.notes.push(role));
    await until(laptop, (s) => s.data.notes.includes(role));
    await assert.rejects(handoff.list(), (e) => e.code === "forbidden", "for the one session alone");
    handoff.close();
    const after = await withToken(JSON.parse(JSON.stringify(told[0]))).open(told[0].sessionId);
    await after.patch((d) => void d.notes.push("again"));
    await until(laptop, (s) => s.data.notes.includes("again"));
  }
});

test("a session token is renewed by the server as long as the session lives", async (t) => {
  const laptop = await person(t).device("laptop").create(meditation);
  const { code } = await laptop.handoffCode({ role: "editor" });
  let first;
  const { handoff } = await unknown(t).redeem(code, { onToken: (kept) => (first = kept) });
  handoff.close();
  const told = [];
  const again = Handoff.withToken(apiUrl, first, { socketUrl, WebSocket, onToken: (kept) => told.push(kept) });
  t.after(() => again.close());
  await again.open(first.sessionId);
  assert.equal(told.length, 1);
  assert.notEqual(told[0].token, first.token);
  assert.ok(Date.parse(told[0].expiresAt) >= Date.parse(first.expiresAt));
  await laptop.complete();
  const late = Handoff.withToken(apiUrl, told[0], { socketUrl, WebSocket, onToken: (kept) => told.push(kept) });
  t.after(() => late.close());
  assert.equal((await late.open(first.sessionId)).status, "completed");
  assert.equal(told.length, 1, "not renewed any more, and still good for reading");
});
