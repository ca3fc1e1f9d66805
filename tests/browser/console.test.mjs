// The console in Chromium, against the real services (tests/e2e/test_console.py starts them).
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { apiUrl, close, findings, launch, newPage, open, person, token } from "./chromium.mjs";

before(launch);
after(close);

const CHESS = {
  name: "Friday game",
  type: "chess",
  data: { moves: [] },
  clock: { mode: "per_participant", totalTimeMs: 300000, participants: [{ participantId: "white" }, { participantId: "black" }] },
};

const row = (page, text) => page.locator(".tree .row", { hasText: text }).first();
const event = (page, text) => page.locator(".event", { hasText: text }).first();
const button = (page, name) => page.getByRole("button", { name, exact: true });

test("who has no good token is told so, and gets in with one; the token stays in the tab", async (t) => {
  const page = await newPage(t);
  const { user, create } = person();
  await create();
  await page.goto(apiUrl);
  await page.getByLabel("Token").fill("nonsense");
  await button(page, "Sign in").click();
  await page.getByText("That is no token").waitFor();
  await page.getByLabel("Token").fill(token(user, { seconds: -100 }));
  await button(page, "Sign in").click();
  await page.getByText("The token has expired").waitFor();
  assert.match(page.faults.splice(0).join("\n"), /^Failed to load resource: the server responded with a status of 401[^\n]*$/);
  await page.getByLabel("Token").fill(` Bearer ${token(user)} `);
  await button(page, "Sign in").click();
  await page.getByRole("link", { name: /Evening meditation/ }).waitFor();
  const kept = await page.evaluate(() => [localStorage.length, document.cookie, sessionStorage.getItem("handoff.console.token") !== null]);
  assert.deepEqual(kept, [0, "", true]);
  await button(page, "Sign out").click();
  await page.getByLabel("Token").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem("handoff.console.token")), null);
});

test("a token behind # signs in, and is nowhere to be seen afterwards", async (t) => {
  const page = await newPage(t);
  const { user } = person();
  const urls = [];
  page.on("request", (request) => urls.push(request.url(), JSON.stringify(request.headers().referer ?? "")));
  const secret = token(user);
  await page.goto(`${apiUrl}/#token=${secret}`);
  await page.getByText("No sessions yet").waitFor();
  assert.equal(page.url(), `${apiUrl}/`);
  assert.equal(await page.evaluate(() => history.length), 2); // the empty page, and this
  assert.ok(!urls.some((url) => url.includes(secret)));
  await page.evaluate((other) => void (location.hash = `#token=${other}`), token(user, { device_id: "tablet" }));
  await page.locator(".who", { hasText: "tablet" }).waitFor();
  assert.equal(page.url(), `${apiUrl}/`);
});

test("a session is made, and found in the list", async (t) => {
  const page = await newPage(t);
  const { user } = person();
  await open(page, user);
  await button(page, "New session").click();
  await button(page, "To-do list").click();
  await page.getByLabel("Data", { exact: true }).fill("{");
  await button(page, "Create").click();
  await page.getByText("Data is not JSON").waitFor();
  await page.getByLabel("Data", { exact: true }).fill('{"milk": 2}');
  await page.getByLabel("Name").fill("Groceries");
  await button(page, "Create").click();
  await page.getByRole("heading", { name: "Groceries" }).waitFor();
  await row(page, "milk").waitFor();
  await button(page, "Complete").click();
  await button(page, "Complete it").click();
  await page.locator(".title .status.completed").waitFor();
  await page.getByRole("link", { name: "All sessions" }).click();
  await page.getByRole("link", { name: /Groceries/ }).waitFor();
  await page.getByLabel("Status").selectOption("active");
  await page.getByText("No session has this status").waitFor();
});

test("two pages side by side see each other: data, marks, timeline, devices, status", async (t) => {
  const { user, create } = person();
  const { id } = await create({ data: { progress: 0, steps: ["a", "b"] } });
  const left = await newPage(t),
    right = await newPage(t);
  await open(left, user, id);
  await open(right, user, id);
  await left.locator(".person", { hasText: "connected" }).nth(1).waitFor();
  await row(left, "progress").click();
  await left.getByLabel("Value").fill("75");
  await left.getByText("will be: number").waitFor();
  await left.keyboard.press("Enter");
  for (const page of [left, right]) {
    await page.locator(".row.changed", { hasText: "progress" }).waitFor();
    assert.equal(await row(page, "progress").innerText(), "progress\n75");
    const shown = event(page, "progress: 0 → 75");
    assert.match(await shown.locator(".latency").innerText(), /^(< )?\d+(\.\d)? m?s$/);
    assert.match(await shown.locator(".event-foot").innerText(), /console-[0-9a-f]{8}\s*v2/);
  }
  await left.getByText(/^saved in/).waitFor();
  await right.locator('[role="treeitem"]', { hasText: "steps" }).last().press("a");
  await right.getByLabel("Value").fill("third");
  await button(right, "Add").first().click();
  await row(left, "third").waitFor();
  await button(left, "Pause").click();
  await right.locator(".title .status.paused").waitFor();
  await button(right, "Continue").click();
  await left.getByText(/active on console-/).waitFor();
  await event(left, "Paused → Active").waitFor();
});

test("the data as text: a change is applied as a whole, and what is no JSON is not", async (t) => {
  const { user, create, call } = person();
  const { id } = await create({ data: { a: 1, b: [1, 2] } });
  const page = await newPage(t);
  await open(page, user, id);
  await page.getByRole("tab", { name: "JSON" }).click();
  const text = page.getByLabel("Data as JSON");
  assert.deepEqual(JSON.parse(await text.inputValue()), { a: 1, b: [1, 2] });
  await text.fill("{");
  await button(page, "Apply").click();
  await page.getByText("Not JSON").waitFor();
  await text.fill('{"a": 2, "b": [1, 2]}');
  await button(page, "Apply").click();
  await page.getByText(/^saved in/).waitFor();
  assert.deepEqual((await call("GET", `/sessions/${id}/deltas?since=1`)).items[0].operations, [
    { op: "replace", path: "/data/a", value: 2 },
  ]);
});

test("what another may not change cannot be changed here; a role that comes is heeded at once", async (t) => {
  const owner = person(),
    viewer = person();
  const { id } = await owner.create();
  await owner.call("PUT", `/sessions/${id}/participants/${viewer.user}`, { role: "viewer" });
  const page = await newPage(t);
  await open(page, viewer.user, id);
  for (const name of ["Pause", "Complete", "Hand off", "Rename", "Keep a snapshot"]) {
    assert.ok(!(await button(page, name).isVisible()), name);
  }
  await row(page, "progress").click();
  assert.equal(await page.locator(".editor").count(), 0);
  await owner.call("PUT", `/sessions/${id}/participants/${viewer.user}`, { role: "editor" });
  await button(page, "Pause").waitFor();
  await owner.call("DELETE", `/sessions/${id}/participants/${viewer.user}`);
  await page.getByText("is not shared with you any more").waitFor();
});

/* Before this server knows handoff codes, the dialog explains that; once it does, the code is shown and works. */
test("handing off", async (t) => {
  const { user, create } = person();
  const { id } = await create();
  const page = await newPage(t);
  await open(page, user, id);
  await button(page, "Hand off").click();
  await page.getByRole("dialog").getByText("My other device").waitFor();
  await button(page, "Make a code").click();
  const picture = page.getByAltText("QR code");
  await picture.waitFor();
  assert.ok(await picture.evaluate(async (image) => (await image.decode(), image.naturalWidth > 0)));
  await page.getByText(/Good once, for \d+ s/).waitFor();
  const url = new URL(await page.getByLabel("Or open this link there").inputValue());
  const other = await newPage(t);
  await open(other, user);
  await other.goto(`${apiUrl}/${url.hash}`);
  await other.getByRole("heading", { name: "Evening meditation" }).waitFor();
  assert.ok(!other.url().includes(url.hash));
  await page.getByText(/is here\.$/).waitFor();
});

test("who has no login goes on by a code: with this one session, also after a reload", async (t) => {
  const { user, create, set } = person();
  const { id } = await create();
  const page = await newPage(t);
  await open(page, user, id);
  await button(page, "Hand off").click();
  await button(page, "Make a code").click();
  const link = await page.getByLabel("Or open this link there").inputValue();
  const guest = await newPage(t);
  await guest.goto(`${apiUrl}/${new URL(link).hash}`);
  await guest.getByRole("heading", { name: "Evening meditation" }).waitFor();
  await set(id, "/data/progress", 42);
  await row(guest, "42").waitFor();
  await guest.reload();
  await row(guest, "42").waitFor();
  await page.getByText(/is here\.$/).waitFor();
});

test("a code that is none leads to an explanation, and out of the address bar", async (t) => {
  const page = await newPage(t);
  await page.goto(`${apiUrl}/#code=0123456789abcdefghijkl`);
  await page.locator(".toast").waitFor();
  assert.equal(page.url(), `${apiUrl}/`);
  assert.match(page.faults.splice(0).join("\n"), /^(Failed to load resource: [^\n]*40[14][^\n]*\/handoff\n?)+$/);
});

test("time travel: any version, what it changed, and back to it", async (t) => {
  const { user, create, set, call } = person();
  const { id } = await create({ data: { progress: 0 } });
  for (const n of [10, 20, 30]) {
    await set(id, "/data/progress", n);
  }
  await call("POST", `/sessions/${id}/snapshots`, { label: "thirty" });
  const page = await newPage(t);
  await open(page, user, id);
  const slider = page.getByLabel("Version", { exact: true });
  await slider.focus();
  await page.keyboard.press("ArrowLeft");
  await page.getByText("From version 2 to 3").waitFor();
  assert.equal(
    await page
      .locator(".change")
      .innerText()
      .then((text) => text.replace(/\s+/g, " ")),
    "~ changed: progress 10 → 20",
  );
  await page.keyboard.press("Home");
  await page.getByText("the session was created with this data").waitFor();
  await page.getByLabel("Compared with").selectOption("now");
  await page.getByText("From version 4 to 1").waitFor();
  await page.getByLabel("Compared with").selectOption("chosen");
  await page.getByLabel("From version").fill("3");
  await page.getByText("From version 3 to 1").waitFor();
  await button(page, "Show all data").click();
  assert.deepEqual(JSON.parse(await page.getByRole("dialog").locator("pre").innerText()), { progress: 0 });
  await page.keyboard.press("Escape");
  await button(page, "Restore this version").click();
  await page.locator(".facts", { hasText: "version 5" }).waitFor();
  assert.equal(await row(page, "progress").innerText(), "progress\n0");
  await button(page, "thirty · 4").click();
  await page.getByText("From version 3 to 4").waitFor();
});

test("a clock runs down on both pages in the server's time, is switched and stopped", async (t) => {
  const { user, create } = person();
  const { id } = await create(CHESS);
  const left = await newPage(t),
    right = await newPage(t);
  const side = (page, name) => page.locator(".clock-side", { hasText: name });
  const time = (page, name) => side(page, name).locator(".clock-time").innerText();
  await right.addInitScript(() => {
    // a device whose own clock is wrong by an hour
    const now = Date.now;
    Date.now = () => now() + 3600000;
    Object.defineProperty(performance, "timeOrigin", { value: performance.timeOrigin + 3600000 });
  });
  await open(left, user, id);
  await open(right, user, id);
  for (const page of [left, right]) {
    const first = await time(page, "white");
    await page.waitForFunction((was) => document.querySelector(".clock-side.running .clock-time").textContent < was, first);
    assert.match(first, /^(5:00|[1-4]:\d\d)$/);
    assert.equal(await time(page, "black"), "5:00");
  }
  await button(right, "Switch turn").click();
  await left.locator(".clock-side.running", { hasText: "black" }).waitFor();
  await event(left, "white → black").waitFor();
  await left.getByRole("button", { name: "+30 s for white" }).click();
  await event(right, "white +0:30").waitFor();
  await left.locator(".clock-card").getByRole("button", { name: "Pause" }).click();
  await side(right, "black").getByText("Their turn, stopped").waitFor();
  const stopped = await time(right, "black");
  await button(right, "Switch turn")
    .isDisabled()
    .then((is) => assert.ok(is));
  assert.equal(await time(left, "black"), stopped);
});

/* Tab until there; each stop on the way has to be seen. */
async function tabTo(page, fits, key = "Tab") {
  for (let n = 0; n < 80; n++) {
    await page.keyboard.press(key);
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      const outlined = element.matches('[role="treeitem"]') ? element.querySelector(".row") : element;
      const style = getComputedStyle(outlined);
      return {
        name: element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? outlined.textContent.trim(),
        isSeen: element === document.body || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0),
      };
    });
    assert.ok(stop.isSeen, `the focus on "${stop.name}" is not to be seen`);
    if (fits(stop.name)) {
      return;
    }
  }
  assert.fail("Tab does not lead there");
}

test("everything is done with the keyboard alone", async (t) => {
  const page = await newPage(t, { reducedMotion: "reduce" });
  const { user } = person();
  await page.goto(apiUrl);
  await page.getByLabel("Token").waitFor();
  await page.keyboard.insertText(token(user));
  await page.keyboard.press("Enter");
  await page.getByText("No sessions yet").waitFor();
  await page.locator("#main:focus").waitFor();
  await tabTo(page, (name) => name === "New session");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await tabTo(page, (name) => name === "Create");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Evening meditation" }).waitFor();
  await page.locator(".sync.synced").waitFor();
  await tabTo(page, (name) => name.startsWith("data{"));
  for (const key of ["ArrowDown", "ArrowDown", "End", "Home", "ArrowRight", "Enter", "Enter"]) {
    await page.keyboard.press(key); // the last two close it and open it again
  }
  const here = () => page.evaluate(() => document.activeElement.querySelector(".row").innerText);
  assert.equal(await page.locator('[role="treeitem"]').count(), 6);
  while (!(await here()).startsWith("progress")) {
    await page.keyboard.press("ArrowDown");
  }
  await page.keyboard.press("Enter");
  await page.keyboard.insertText("33");
  await page.keyboard.press("Enter");
  await page.getByText(/^saved in/).waitFor();
  assert.equal(await here(), "progress\n33");
  await tabTo(page, (name) => name === "Pause", "Shift+Tab");
  await page.keyboard.press("Enter");
  await page.locator(".title .status.paused").waitFor();
  await tabTo(page, (name) => name === "Hand off");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Hand off");
  assert.match(await page.locator("#live").innerText(), /^$|Data changed|Status changed|Device joined/);
});

const LOOKS = [
  ["light", 1280],
  ["dark", 1280],
  ["light", 360],
  ["dark", 360],
];

/* In dark only the colours are others. */
async function checkLooks(page, view) {
  for (const [colorScheme, width] of LOOKS) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height: 800 });
    assert.deepEqual(await findings(page, colorScheme === "dark" ? ["color-contrast"] : null), [], `${view}, ${colorScheme}, ${width}`);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${view} is wider than ${width}`);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
}

test("axe finds nothing in any view, light or dark, narrow or wide", async (t) => {
  const page = await newPage(t);
  const { user, create, call, set } = person();
  const { id } = await create({ ...CHESS, data: { text: "a", n: 1, yes: true, none: null, list: [1, { deep: [] }] } });
  await set(id, "/data/n", 2);
  await call("PUT", `/sessions/${id}/participants/${person().user}`, { role: "viewer" });
  await call("POST", `/sessions/${id}/snapshots`, { label: "kept" });
  await page.goto(apiUrl);
  await page.getByLabel("Token").waitFor();
  await button(page, "Sign in").evaluate((e) => (e.form.noValidate = true));
  await button(page, "Sign in").click();
  await page.getByText("That is no token").waitFor();
  await checkLooks(page, "sign-in");
  await open(page, user);
  await page.getByRole("link", { name: /Friday game/ }).waitFor();
  await checkLooks(page, "list");
  await button(page, "New session").click();
  await checkLooks(page, "new session");
  await page.keyboard.press("Escape");
  await page.goto(`${apiUrl}/#/sessions/${id}`);
  await page.locator(".sync.synced").waitFor();
  await set(id, "/data/n", 3);
  await page.locator(".row.changed").waitFor();
  await button(page, "One version back").click();
  await page.getByLabel("Compared with").selectOption("now");
  await page.locator(".change").first().waitFor();
  await row(page, "text").click();
  await page.locator(".editor").waitFor();
  await checkLooks(page, "session");
  await page.getByRole("tab", { name: "JSON" }).click();
  await button(page, "Hand off").click();
  await checkLooks(page, "hand off");
});

test("data that means harm stays text, and the largest there can be leaves the page alive", async (t) => {
  const page = await newPage(t);
  const { user, create, set, call } = person();
  const evil = `<img src=x onerror="window.owned=1"><script>window.owned=1</script>&lt;b&gt;\u202Eabc`;
  let deep = [1];
  for (let n = 0; n < 60; n++) {
    deep = { level: deep };
  }
  const data = {
    [evil]: evil,
    __proto__: null,
    constructor: { toString: 1 },
    "": "",
    deep,
    long: "x".repeat(300000),
    many: Array.from({ length: 20000 }, (_, n) => n),
  };
  Object.defineProperty(data, "__proto__", { value: { owned: 1 }, enumerable: true });
  const { id } = await create({ name: evil, data });
  await call("POST", `/sessions/${id}/snapshots`, { label: evil });
  await open(page, user, id);
  assert.equal(await page.locator("h1").innerText(), evil);
  await row(page, "<img src=x").waitFor();
  await page.locator('[role="treeitem"]', { hasText: "level" }).last().focus();
  for (let n = 0; n < 130; n++) {
    await page.keyboard.press("ArrowRight"); // opens, or goes into: down to the deepest
  }
  await page.locator(".row .name.index", { hasText: "0" }).first().waitFor();
  await page
    .locator('[role="treeitem"]', { has: page.locator(":scope > .row .name", { hasText: /^many$/ }) })
    .last()
    .press("ArrowRight");
  await page.getByText("100 more of 19,900").click();
  await page.locator(".row .name", { hasText: /^199$/ }).waitFor();
  await page.getByRole("tab", { name: "JSON" }).click();
  assert.ok((await page.getByLabel("Data as JSON").inputValue()).length > 400000);
  await page.getByRole("tab", { name: "Tree" }).click();
  await set(id, "/data/many/3", evil);
  await event(page, "many › 3").waitFor();
  await button(page, "One version back").click();
  await page.getByText("the session was created with this data").waitFor();
  await page.getByRole("button", { name: /<img src=x.* · 1/ }).waitFor();
  await page.getByRole("link", { name: "All sessions" }).click();
  await page.getByText(evil.slice(0, 30)).first().waitFor();
  assert.equal(await page.evaluate(() => window.owned ?? document.querySelector("main img, main script")), null);
});
