// Parts by themselves, where a server cannot be brought to do it at the right moment: the outbox, the socket's manners, tokens.
import assert from "node:assert/strict";
import { test as nodeTest } from "node:test";
import { HandoffError } from "../dist/esm/index.js";
import { Outbox } from "../dist/esm/outbox.js";
import { SocketLink } from "../dist/esm/socket.js";
import { MemoryStore } from "../dist/esm/store.js";
import { oneAtATime, renewed } from "../dist/esm/tokens.js";

const test = (name, work) => nodeTest(name, { timeout: 30000 }, work);
const turn = () => new Promise((resolve) => setImmediate(resolve));
const command = (key) => ({ type: "patch", sessionId: "s", key, operations: [] });
const refusal = (code, more = {}) => new HandoffError({ code, detail: "", ...more });

// An outbox whose commands `send` answers; it is told of all that was taken back.
function outbox(send, { store = new MemoryStore(), refused = () => false } = {}) {
  const events = [];
  const box = new Outbox({
    store, send, prepare: () => null, done: () => true, changed: () => undefined,
    refused: (pending, error) => (events.push(`${pending.command.key} ${error.code}`), refused(pending, error)),
  });
  box.setOpen(true);
  return { box, store, events };
}

test("what is put in the same millisecond comes back in its order", async () => {
  const { box, store } = outbox(() => new Promise(() => undefined));
  for (let n = 0; n < 50; n++) {
    box.add(command(`${n}`), null);
  }
  const times = (await store.load("s")).map((stored) => stored.createdAt);
  assert.deepEqual(times, [...new Set(times)].sort((a, b) => a - b), "each has its own");
});

test("who is told to wait is waited for, also when more is to be sent", async () => {
  let n = 0;
  const { box } = outbox(() => (n++, Promise.reject(refusal("unavailable", { temporary: true, retryAfterMs: 60000 }))));
  box.add(command("a"), null);
  await turn();
  for (let i = 0; i < 5; i++) {
    box.add(command(`b${i}`), null);
    await turn();
  }
  assert.equal(n, 1);
  box.close();
});

test("a token that is refused takes no change back", async () => {
  for (const code of ["unauthenticated", "token_expired", "no_token"]) {
    const { box, store, events } = outbox(() => Promise.reject(refusal(code)));
    box.add(command("a"), null);
    await turn();
    assert.deepEqual(events, []);
    assert.equal((await store.load("s")).length, 1);
    box.close();
  }
});

test("a key's age counts from when it was sent first", async () => {
  const old = Date.now() - 48 * 3600 * 1000;
  let n = 0;
  const { box, events } = outbox(() => (n++ ? Promise.resolve({ epoch: 1, version: 2 }) : Promise.reject(refusal("connection_lost", { temporary: true, retryAfterMs: 1 }))));
  box.restore([{ command: command("written long ago"), createdAt: old, sentAt: null }, { command: command("sent long ago"), createdAt: old + 1, sentAt: old }]);
  while (box.items.length) {
    await turn();
  }
  assert.equal(n, 2);
  assert.deepEqual(events, ["sent long ago key_expired"]);
});

test("1000 changes wait, and no more", async () => {
  const { box } = outbox(() => new Promise(() => undefined));
  for (let n = 0; n < 1000; n++) {
    box.add(command(`${n}`), null);
  }
  await assert.rejects(box.add(command("one too many"), null), (error) => error.code === "outbox_full");
  assert.equal(box.nUnanswered, 1000);
});

// A socket whose other end is the test.
function socketLink(t, { getToken = () => "token" } = {}) {
  const sockets = [], states = [];
  class Socket {
    readyState = 1;
    sent = [];
    constructor() {
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close() {}
    hear(frame) {
      this.onmessage({ data: JSON.stringify(frame) });
    }
    async open() {
      this.onopen();
      await turn();
      this.hear({ type: "hello", id: this.sent.at(-1).id, serverTime: "2026-02-12T12:00:00.000Z", maxMessageBytes: 65536 });
      await turn();
    }
  }
  const link = new SocketLink({
    url: "http://x", socketUrl: "http://x", deviceId: "d", device: {}, fetch, getToken: oneAtATime(getToken), WebSocket: Socket,
    onState: (state, problem) => states.push(problem ? `${state} ${problem.code}` : state), onHello: () => undefined, onRefused: () => undefined,
  });
  t.after(() => link.close());
  const told = [];
  const subscriber = {
    sessionId: "s", position: () => null, take: (frame) => told.push(frame.type), lose: (problem) => told.push(`lost ${problem.code}`),
    linkChanged: (state) => told.push(state),
  };
  return { link, sockets, states, subscriber, told };
}

test("a late error is nobody's: the session is not lost by it", async (t) => {
  const { link, sockets, subscriber, told } = socketLink(t);
  await turn();
  link.subscribe(subscriber);
  await sockets[0].open();
  sockets[0].hear({ type: "error", id: "999", sessionId: "s", code: "version_conflict", detail: "", temporary: false });
  sockets[0].hear({ type: "unsubscribed", sessionId: "s" });
  assert.deepEqual(told.filter((what) => what.startsWith("lost")), []);
  sockets[0].hear({ type: "unsubscribed", sessionId: "s", code: "not_found" });
  assert.deepEqual(told.at(-1), "lost not_found");
});

test("a session that its server could not tell for now is asked for again", async (t) => {
  const { link, sockets, subscriber, told } = socketLink(t);
  await turn();
  link.subscribe(subscriber);
  await sockets[0].open();
  const nAsked = () => sockets[0].sent.filter((message) => message.type === "subscribe").length;
  assert.equal(nAsked(), 1);
  sockets[0].hear({ type: "unsubscribed", sessionId: "s", code: "unavailable" });
  assert.equal(told.at(-1), "waiting");
  while (nAsked() < 2) {
    await turn();
  }
});

test("a getToken that fails is asked again, unless it says that there is none", async (t) => {
  let n = 0;
  const { sockets, states } = socketLink(t, { getToken: () => (n++ ? "token" : Promise.reject(new TypeError("Failed to fetch"))) });
  while (!sockets.length) {
    await turn();
  }
  assert.deepEqual(states, ["connecting", "waiting no_token", "connecting"]);
  const other = socketLink(t, { getToken: () => { throw refusal("unauthenticated"); } });
  await turn();
  assert.deepEqual(other.states, ["connecting", "stopped unauthenticated"]);
});

test("a getToken that gives the same token again is not asked every second", async (t) => {
  let n = 0;
  const { sockets } = socketLink(t, { getToken: () => (n++, "about to expire") });
  await turn();
  await sockets[0].open();
  for (let i = 0; i < 5; i++) {
    sockets[0].hear({ type: "token_expiring", expiresAt: "2026-02-12T12:01:00.000Z" });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const auth = sockets[0].sent.filter((message) => message.type === "auth").at(-1);
    sockets[0].hear({ type: "hello", id: auth.id, serverTime: "2026-02-12T12:00:00.000Z", maxMessageBytes: 65536 });
    await turn();
  }
  assert.equal(n, 2, "once for the connection, once for the five");
});

test("many that need a token at the same moment ask for one", async () => {
  let n = 0;
  const getToken = oneAtATime(async () => `${++n}`);
  assert.deepEqual(await Promise.all([getToken(), getToken(), getToken()]), ["1", "1", "1"]);
  assert.equal(await getToken(), "2");
});

const sessionToken = (hours) => `x.${Buffer.from(JSON.stringify({ iat: 0, exp: hours * 3600 })).toString("base64url")}.x`;
const kept = { sessionId: "s", deviceId: "d", token: sessionToken(24), expiresAt: "" };

test("a session token is renewed when half of its life is over, and when it was kept", async (t) => {
  const asked = [], told = [];
  const answer = { token: sessionToken(48), expiresAt: "later" };
  const fetch = async (url, { headers }) => (asked.push([url, headers.Authorization]), Response.json(answer));
  t.mock.timers.enable({ apis: ["Date"], now: 1e12 });
  const fresh = renewed({ url: "http://x", deviceId: "d", fetch }, kept, true, (token) => told.push(token));
  assert.equal(await fresh(), kept.token);
  t.mock.timers.setTime(1e12 + 12 * 3600 * 1000 - 1);
  assert.equal(await fresh(), kept.token);
  t.mock.timers.setTime(1e12 + 12 * 3600 * 1000);
  assert.equal(await fresh(), answer.token);
  assert.deepEqual(asked, [["http://x/sessions/s/token", `Bearer ${kept.token}`]]);
  assert.deepEqual(told, [{ ...kept, ...answer }]);
  const old = renewed({ url: "http://x", deviceId: "d", fetch }, kept, false, () => undefined);
  assert.equal(await old(), answer.token);
});

test("a session token that cannot be renewed is used as it is, and asked for once a minute", async (t) => {
  let n = 0;
  const fetch = async () => (n++, Response.json({ code: "unavailable", detail: "", temporary: true }, { status: 503 }));
  t.mock.timers.enable({ apis: ["Date"], now: 1e12 });
  const getToken = renewed({ url: "http://x", deviceId: "d", fetch }, kept, false, () => undefined);
  for (let i = 0; i < 3; i++) {
    assert.equal(await getToken(), kept.token);
  }
  assert.equal(n, 1);
  t.mock.timers.setTime(1e12 + 60000);
  await getToken();
  assert.equal(n, 2);
});
