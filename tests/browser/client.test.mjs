// The client in Chromium, on pages of another origin than the services'. In each test nothing may be lost and nothing be there twice:
// every change puts a number of its own into a list, and the server's list is counted.
import assert from "node:assert/strict";
import { after, before, test as nodeTest } from "node:test";
import { apiUrl, person, proxy, socketUrl, until as untilHere } from "../../clients/js/test/stack.mjs";
import { open, origin, profile, startBrowser, startSite, until } from "./site.mjs";

const test = (name, work) => nodeTest(name, { timeout: 30000 }, work);
const list = { name: "A list", type: "test", data: { list: [], count: 0 } };
const numbers = (n, from = 0) => Array.from({ length: n }, (_, i) => i + from);
let site, browser;

before(async () => {
  [site, browser] = await Promise.all([startSite(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  site?.close();
});

// A session, another device of the same person that watches it, and what it counts at the end.
async function watched(t, data = list) {
  const someone = person(t);
  const watcher = await someone.device("watcher").create(data);
  const has = async (expected) => {
    await untilHere(watcher, (s) => s.confirmed.data.list.length >= expected.length);
    assert.deepEqual([...watcher.confirmed.data.list].sort((a, b) => a - b), expected);
    assert.equal(watcher.confirmed.version, 1 + expected.length, "each of them is one version");
  };
  return { user: someone.user, watcher, has, sessionId: watcher.sessionId };
}

// The page adds the numbers, one change each. Resolves when they are shown; with isAnswered, when the server has them.
function add(page, values, { isAnswered = true } = {}) {
  return page.evaluate(async ([values, isAnswered]) => {
    const answers = values.map((n) => window.session.patch((data) => { data.list.push(n); data.count++; }));
    answers.forEach((answer) => answer.catch((error) => console.error(error)));
    if (isAnswered) {
      await Promise.all(answers);
    }
  }, [values, isAnswered]);
}

// Of the page's own: what is written before it is there when this is.
async function hasStored(page, sessionId, n) {
  assert.equal(await page.evaluate(async (id) => (await new window.client.IndexedDbStore().load(id)).length, sessionId), n);
}

const isOffline = (session) => session.sync.state === "offline";
const isDone = (session) => session.sync.state === "synced" && session.sync.unsent === 0;
const hasCount = (session, n) => session.confirmed.data.count === n && session.data.list.length === n;

test("two tabs of a browser, and another device, are in sync", async (t) => {
  const { user, has, sessionId } = await watched(t);
  const phone = await profile(t, browser, { user });
  const tabs = [await phone.tab(), await phone.tab()];
  await Promise.all(tabs.map((tab) => open(tab, sessionId)));
  await Promise.all(tabs.map((tab, i) => add(tab, numbers(20, 20 * i))));
  await Promise.all(tabs.map((tab) => until(tab, hasCount, 40)));
  await has(numbers(40));
});

test("the browser goes offline, for its own server with the token as well, and comes back", async (t) => {
  const { user, watcher, has, sessionId } = await watched(t);
  const sockets = await proxy(t, socketUrl);
  const phone = await profile(t, browser, { user, sockets: sockets.url });
  const tab = await phone.tab();
  await open(tab, sessionId);
  sockets.cut();
  await until(tab, isOffline);
  await phone.context.setOffline(true);
  await add(tab, numbers(10), { isAnswered: false });
  await tab.evaluate(() => new Promise((resolve) => window.handoff.on("state", ({ problem }) => problem?.code === "no_token" && resolve())));
  await watcher.patch((data) => { data.list.push(10); data.count++; });
  sockets.mend();
  await phone.context.setOffline(false);
  await until(tab, hasCount, 11);
  await until(tab, isDone);
  assert.equal(await tab.evaluate(() => window.handoff.connection.transport), "websocket");
  await has(numbers(11));
});

test("the network is cut, again and again, with changes on their way", async (t) => {
  const { user, has, sessionId } = await watched(t);
  const [api, sockets] = [await proxy(t, apiUrl), await proxy(t, socketUrl)];
  const phone = await profile(t, browser, { user, api: api.url, sockets: sockets.url });
  const tab = await phone.tab();
  await open(tab, sessionId);
  for (let round = 0; round < 5; round++) {
    const added = add(tab, numbers(8, 8 * round));
    [api, sockets].forEach((link) => link.cut());
    [api, sockets].forEach((link) => link.mend());
    await added;
  }
  await until(tab, hasCount, 40);
  await has(numbers(40));
});

test("a page that is loaded anew sends what it had not sent, in order", async (t) => {
  const { user, watcher, has, sessionId } = await watched(t);
  const sockets = await proxy(t, socketUrl);
  const phone = await profile(t, browser, { user, sockets: sockets.url });
  const tab = await phone.tab();
  await open(tab, sessionId);
  sockets.cut();
  await until(tab, isOffline);
  await add(tab, numbers(30), { isAnswered: false });
  await hasStored(tab, sessionId, 30);
  await tab.reload();
  await phone.begin(tab);
  sockets.mend();
  await open(tab, sessionId);
  await until(tab, isDone);
  await has(numbers(30));
  assert.deepEqual(watcher.data.list, numbers(30));
});

test("what a closed tab had not sent is sent by one that is still open", async (t) => {
  const { user, has, sessionId } = await watched(t);
  const sockets = await proxy(t, socketUrl);
  const phone = await profile(t, browser, { user, sockets: sockets.url });
  const [first, second] = [await phone.tab(), await phone.tab()];
  await Promise.all([first, second].map((tab) => open(tab, sessionId)));
  sockets.cut();
  await Promise.all([first, second].map((tab) => until(tab, isOffline)));
  await add(first, numbers(5), { isAnswered: false });
  await add(second, numbers(5, 5), { isAnswered: false });
  await hasStored(first, sessionId, 5);
  await first.close();
  sockets.mend();
  await until(second, (session) => session.data.list.length === 10 && session.sync.unsent === 0);
  await has(numbers(10));
});

test("a slow network", async (t) => {
  const { user, has, sessionId } = await watched(t);
  const phone = await profile(t, browser, { user });
  const tab = await phone.tab();
  const devtools = await phone.context.newCDPSession(tab);
  await devtools.send("Network.enable");
  await devtools.send("Network.emulateNetworkConditions", {
    offline: false, latency: 150, downloadThroughput: 30000, uploadThroughput: 15000,
  });
  await open(tab, sessionId);
  await tab.evaluate(() => window.session.patch((data) => { data.list.push(0); data.count++; data.text = "x".repeat(20000); }));
  await add(tab, numbers(5, 1));
  await until(tab, hasCount, 6);
  await has(numbers(6));
});

test("the browser asks before a page goes with unsent changes, and only then", async (t) => {
  const { user, has, sessionId } = await watched(t);
  const sockets = await proxy(t, socketUrl);
  const phone = await profile(t, browser, { user, sockets: sockets.url });
  const tab = await phone.tab();
  await open(tab, sessionId);
  await tab.evaluate(() => void window.handoff.guardLeaving());
  await tab.click("button"); // a page that nobody touched is not asked about
  const asked = [];
  let accept = false;
  tab.on("dialog", (dialog) => {
    asked.push(dialog.type());
    void (accept ? dialog.accept() : dialog.dismiss());
  });
  sockets.cut();
  await until(tab, isOffline);
  await add(tab, [0], { isAnswered: false });
  await assert.rejects(tab.goto("about:blank"), /ERR_ABORTED/);
  assert.deepEqual(asked, ["beforeunload"]);
  sockets.mend();
  await until(tab, isDone);
  accept = true;
  await tab.goto("about:blank");
  assert.deepEqual(asked, ["beforeunload"]);
  await has([0]);
});

test("where no WebSocket is possible, event streams and REST do the same", async (t) => {
  const { user, watcher, has, sessionId } = await watched(t);
  const phone = await profile(t, browser, { user });
  const tab = await phone.tab(`/page.html?policy=${encodeURIComponent("connect-src http:")}`);
  await open(tab, sessionId);
  assert.equal(await tab.evaluate(() => window.handoff.connection.transport), "stream");
  await Promise.all([add(tab, numbers(10)), watcher.patch((data) => { data.list.push(10); data.count++; })]);
  await until(tab, hasCount, 11);
  await has(numbers(11));
});

test("React, in StrictMode: one socket, in sync both ways", async (t) => {
  const { user, watcher, has, sessionId } = await watched(t);
  const phone = await profile(t, browser, { user });
  const page = await phone.context.newPage();
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket));
  await page.goto(`${origin}/react.html`);
  await phone.begin(page);
  await page.evaluate((id) => window.render(id), sessionId);
  const both = (text) => Promise.all([0, 1].map((n) => page.getByText(text).nth(n).waitFor()));
  await both("0 of 0");
  await page.getByRole("button").first().click();
  await both("1 of 1");
  await watcher.patch((data) => { data.list.push(1); data.count++; });
  await both("2 of 2");
  assert.equal(sockets.length, 1);
  await has([0, 1]);
});
