// The hooks in React's test renderer, against the real services (tests/e2e/test_client_js.py starts them). Packages of Debian's are required
// by NODE_PATH.
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { createElement: h, StrictMode } = require("react");
const { act, create } = require("react-test-renderer");
const { HandoffProvider, useDevices, usePatch, useSession, useSyncStatus } = require("../dist/cjs/index.js");

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const stack = import("../../js/test/stack.mjs");
const meditation = { name: "Evening meditation", type: "meditation", data: { progress: 0, other: 0 } };

// Renders the component as it is in development; looks until the condition holds.
async function mount(t, handoff, component) {
  let tree;
  await act(async () => void (tree = create(h(StrictMode, null, h(HandoffProvider, { handoff }, h(component))))));
  t.after(() => act(async () => tree.unmount()));
  return { tree, until: async (fits) => {
    while (!fits()) {
      await act(() => new Promise((resolve) => setImmediate(resolve)));
    }
  } };
}

test("a component shows the session, changes it, and others' changes come", { timeout: 60000 }, async (t) => {
  const { person, until } = await stack;
  const { device } = person(t);
  const laptop = await device("laptop").create(meditation);
  let seen, patch;
  function Progress() {
    seen = useSession(laptop.sessionId, (session) => session.data.progress);
    patch = usePatch(laptop.sessionId);
    return seen.data ?? "…";
  }
  const page = await mount(t, device("phone"), Progress);
  await page.until(() => seen.data === 0);
  await act(async () => void (await patch((data) => void (data.progress = 10))));
  assert.equal(seen.data, 10);
  await until(laptop, (s) => s.data.progress === 10);
  await laptop.patch((data) => void (data.progress = 20));
  await page.until(() => seen.data === 20);
});

test("a selector keeps a component from rendering for what it does not show", { timeout: 60000 }, async (t) => {
  const { person } = await stack;
  const { device } = person(t);
  const laptop = await device("laptop").create(meditation);
  const select = (session) => session.data.progress;
  let n = 0, progress;
  function Progress() {
    return h(Shown, { progress: useSession(laptop.sessionId, select).data });
  }
  function Shown(props) {
    n++;
    progress = props.progress;
    return null;
  }
  const page = await mount(t, device("phone"), () => h(Progress));
  await page.until(() => progress === 0);
  const before = n;
  await act(async () => void (await laptop.patch((data) => void (data.other = 1))));
  await laptop.patch((data) => void (data.progress = 1));
  await page.until(() => progress === 1);
  assert.ok(n - before <= 2, `rendered ${n - before} times (StrictMode renders twice)`);
});

test("StrictMode opens one connection, and the session is closed when nobody shows it", { timeout: 60000 }, async (t) => {
  const { person, WebSocket, until } = await stack;
  const { device } = person(t);
  const { sessionId } = await device("laptop").create(meditation);
  let n = 0, seen;
  class Counted extends WebSocket {
    constructor(...args) {
      super(...args);
      n++;
    }
  }
  function Two() {
    seen = useSession(sessionId);
    useSession(sessionId);
    return null;
  }
  const page = await mount(t, device("phone", { WebSocket: Counted }), Two);
  await page.until(() => seen.session);
  const { session } = seen;
  assert.equal(session.sync.state, "synced");
  assert.equal(n, 1);
  await act(async () => page.tree.unmount());
  await until(session, (s) => s.sync.state === "closed");
});

test("devices and sync status", { timeout: 60000 }, async (t) => {
  const { person, proxy, socketUrl } = await stack;
  const { device } = person(t);
  const link = await proxy(t, socketUrl);
  const { sessionId } = await device("laptop").create(meditation);
  let devices, sync, patch;
  function Status() {
    devices = useDevices(sessionId);
    sync = useSyncStatus(sessionId);
    patch = usePatch(sessionId);
    return null;
  }
  const page = await mount(t, device("phone", { socketUrl: link.url }), Status);
  await page.until(() => devices.some((d) => d.deviceId === "phone" && d.connected) && sync.state === "synced");
  link.cut();
  await page.until(() => sync.state === "offline");
  const answer = patch((data) => void (data.progress = 5));
  await page.until(() => sync.unsent === 1);
  link.mend();
  await page.until(() => sync.state === "synced" && sync.unsent === 0);
  await answer;
});

test("a session that is not there is an error", { timeout: 60000 }, async (t) => {
  const { person } = await stack;
  const { device } = person(t);
  let seen;
  const page = await mount(t, device("phone"), () => {
    seen = useSession("0197a1b2-0000-7000-8000-000000000000");
    return null;
  });
  await page.until(() => seen.error);
  assert.equal(seen.error.code, "not_found");
  assert.equal(seen.data, undefined);
});

test("a component that only patches opens the session; one that left before it was there leaves nothing open", { timeout: 60000 }, async (t) => {
  const { person, proxy, until, socketUrl } = await stack;
  const { device } = person(t);
  const laptop = await device("laptop").create(meditation);
  let patch;
  await mount(t, device("phone"), () => {
    patch = usePatch(laptop.sessionId);
    return null;
  });
  await act(async () => void (await patch((data) => void (data.progress = 7))));
  await until(laptop, (s) => s.data.progress === 7);

  const link = await proxy(t, socketUrl);
  link.cut();
  const handoff = device("tablet", { socketUrl: link.url });
  const page = await mount(t, handoff, () => {
    useSession(laptop.sessionId);
    return null;
  });
  await act(async () => page.tree.unmount());
  await new Promise((resolve) => setTimeout(resolve, 1100)); // it lingers for a second
  link.mend();
  handoff.reconnect();
  const session = await handoff.open(laptop.sessionId); // the same one, which is closed as soon as it is there
  await until(session, (s) => s.sync.state === "closed");
});
