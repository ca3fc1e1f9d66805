// examples/ in Chromium, against real services (tests/e2e/test_first_minutes.py starts them): of each two pages, one acts, the other shows.
// The pages know the addresses of the local stack; Chromium is told where these are here.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const { HANDOFF_API_PORT, HANDOFF_SOCKET_PORT, HANDOFF_EXAMPLES_PORT, HANDOFF_SHOTS } = process.env;
const examples = "http://localhost:8090";
let browser;

before(async () => {
  const moved = [["8080", HANDOFF_API_PORT], ["8081", HANDOFF_SOCKET_PORT], ["8090", HANDOFF_EXAMPLES_PORT]];
  const rules = moved.map(([from, to]) => `MAP localhost:${from} 127.0.0.1:${to}`).join(",");
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", `--host-resolver-rules=${rules}`] });
});

after(() => browser?.close());

/** A browser of its own, whose pages may not tell of an error, but of those that are meant to be. */
async function person(t, options = {}, meant = /^$/) {
  const context = await browser.newContext({ viewport: { width: 900, height: 760 }, reducedMotion: "reduce", ...options });
  const errors = [];
  context.on("weberror", (error) => errors.push(String(error.error())));
  context.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  t.after(async () => {
    await context.close();
    assert.deepEqual(errors.filter((error) => !meant.test(error)), []);
  });
  return context;
}

async function open(context, url) {
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

/** A network that can be cut: what is open breaks, what is asked for fails. */
async function cuttable(context) {
  const sockets = new Set();
  let isCut = false;
  await context.route(/:8080\//, (route) => (isCut ? route.abort() : route.continue()));
  await context.routeWebSocket(/:8081\//, (socket) => {
    if (isCut) {
      return socket.close();
    }
    const server = socket.connectToServer();
    sockets.add({ socket, server });
  });
  return {
    async cut() {
      isCut = true;
      for (const { socket, server } of sockets) {
        await Promise.all([socket.close(), server.close()]);
      }
      sockets.clear();
    },
    mend() {
      isCut = false;
    },
  };
}

/** Waits until the page shows the text. */
const shows = (page, selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor();

/** The link that the page shows to be sent to somebody. */
async function invitation(page) {
  await shows(page, "#invitation", "#code=");
  return page.locator("#invitation").getAttribute("href");
}

/** For who looks at them: HANDOFF_SHOTS names a folder. */
async function shoot(name, pages) {
  if (HANDOFF_SHOTS) {
    for (const [which, page] of Object.entries(pages)) {
      await page.screenshot({ path: `${HANDOFF_SHOTS}/${name}-${which}.png`, animations: "disabled" });
    }
  }
}

/** Resolves when the user's sessions of that type have one: up to 1 s later. */
async function listed(user, type) {
  const token = await (await fetch(`http://localhost:${HANDOFF_EXAMPLES_PORT}/token?user=${user}`)).text();
  for (;;) {
    const answer = await fetch(`http://localhost:${HANDOFF_API_PORT}/sessions?type=${type}`, { headers: { Authorization: `Bearer ${token}` } });
    if ((await answer.json()).items.length) {
      return;
    }
  }
}

const phoneSize = { viewport: { width: 390, height: 780 }, colorScheme: "dark" };

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

/** Serves files from another port, as one's own server would: {path: [type, text]}; its address. */
async function serve(t, files) {
  const server = createServer((request, response) => {
    const [type, text] = files[request.url.split("?")[0]] ?? ["text/plain", ""];
    response.writeHead(200, { "Content-Type": type }).end(text);
  });
  t.after(() => server.close());
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://localhost:${server.address().port}`;
}

test("twenty lines, served from any other port", async (t) => {
  const own = await serve(t, { "/": ["text/html", read("examples/index.html")] });
  const one = await open(await person(t), `${own}/`);
  await one.waitForURL(/#[0-9a-f-]{36}$/);
  const other = await open(await person(t), one.url());
  await shows(other, "output", "0");
  await one.locator("input").fill("75");
  await shows(other, "output", "75");
  await one.reload();
  await shows(one, "output", "75");
  await shoot("hello", { one, other });
});

test("the page of the client's README is in sync with itself", async (t) => {
  const token = await (await fetch(`http://localhost:${HANDOFF_EXAMPLES_PORT}/token?user=grace`)).text();
  const [, shown] = /```html\n(.*?)```/s.exec(read("clients/js/README.md"));
  const own = await serve(t, { "/": ["text/html", shown.replace('"./client', `"${examples}/client`).replace("the token", token)] });
  const one = await open(await person(t), `${own}/`);
  await one.waitForURL(/#[0-9a-f-]{36}$/);
  const other = await open(await person(t), one.url());
  await shows(other, "button", "0 %");
  await one.locator("button").click();
  await shows(other, "button", "5 %");
});

test("a meditation goes from the phone to the laptop", async (t) => {
  const phone = await open(await person(t, phoneSize), `${examples}/meditation/?device=phone`);
  await shows(phone, "#where", "whenever you are ready");
  await phone.getByRole("button", { name: "Begin" }).click();
  await shows(phone, "#where", "On this device");
  await phone.getByLabel("Sound").selectOption("waves");
  await phone.reload();
  await shows(phone, "#where", "On this device");
  await listed("alice", "meditation");
  const laptop = await open(await person(t), `${examples}/meditation/?device=laptop`);
  await shows(laptop, "#where", "On your phone");
  await laptop.waitForFunction(() => document.getElementById("sound").value === "waves");
  await shoot("meditation-before", { phone, laptop });
  await laptop.getByRole("button", { name: "Continue here" }).click();
  await shows(phone, "#where", "On your laptop");
  await shows(laptop, "#time", /^(?!0:00)./);
  await shoot("meditation-after", { phone, laptop });
  await laptop.getByRole("button", { name: "Pause" }).click();
  await shows(phone, "#go", "Continue");
  await phone.getByRole("button", { name: "Finish" }).click();
  await shows(laptop, "#where", "Well done");
});

test("the tutorial's app does what the tutorial says", async (t) => {
  const tutorial = read("docs/tutorial.md");
  const code = (language) => [...tutorial.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, "gs"))].map((match) => match[1]).join("\n");
  const own = await serve(t, { "/": ["text/html", code("html")], "/app.js": ["text/javascript", code("js")] });
  const phone = await open(await person(t, phoneSize), `${own}/?device=phone`);
  await shows(phone, "#where", "pending");
  await phone.getByRole("button", { name: "Begin" }).click();
  await shows(phone, "#where", "on this device");
  await listed("anna", "meditation");
  const laptop = await open(await person(t), `${own}/?device=laptop`);
  await shows(laptop, "#where", "on your phone");
  await laptop.getByRole("button", { name: "Continue here" }).click();
  await shows(phone, "#where", "on your laptop");
  await phone.getByLabel("Sound").selectOption("waves");
  await laptop.waitForFunction(() => document.getElementById("sound").value === "waves");
  await shows(laptop, "#time", /^(?!0:00)./);
  await laptop.getByRole("button", { name: "Finish" }).click();
  await shows(phone, "#where", "completed");
});

test("a game of chess: two people, whose turn it is by the clock", async (t) => {
  const white = await open(await person(t), `${examples}/chess/`);
  await white.getByRole("button", { name: "Invite black" }).click();
  const black = await open(await person(t, phoneSize), await invitation(white));
  await shows(black, "#say", "Waiting for white");
  await white.getByRole("button", { name: "Start the clocks" }).click();
  await shows(white, "#say", "Your move");
  await shows(black, "#say", "white's move");
  const move = async (page, from, to) => {
    await page.getByLabel(from).click();
    await page.getByLabel(to).click();
  };
  await move(white, "e2 white P", "e4");
  await shows(black, "#say", "Your move");
  await black.getByLabel("e4 white P").waitFor();
  await shows(white, "#say", "black's move");
  await move(white, "d2 white P", "d4"); // out of turn
  await black.reload();
  await shows(black, "#say", "Your move");
  await move(black, "e7 black p", "e5");
  await white.getByLabel("e5 black p").waitFor();
  await shows(white, "#say", "Your move");
  await white.getByLabel("d2 white P").waitFor();
  await shoot("chess", { white, black });
  await white.getByRole("button", { name: "Resign" }).click();
  await shows(black, "#say", "white resigns: black wins");
});

test("a to-do list of two people, who change it at once and without a network", async (t) => {
  const own = await open(await person(t), `${examples}/todo/`);
  await shows(own, "#state", "Only this device");
  await own.getByRole("button", { name: "Share this list" }).click();
  const link = await invitation(own);
  const bens = await person(t, phoneSize, /ERR_FAILED/), network = await cuttable(bens), shared = await open(bens, link);
  const add = async (page, text) => {
    await page.getByLabel("What is to be done?").fill(text);
    await page.getByRole("button", { name: "Add" }).click();
  };
  await add(own, "Buy bread");
  await shows(shared, "li", "Buy bread");
  await Promise.all([add(own, "Water the plants"), add(shared, "Call grandmother")]);
  await Promise.all([shows(own, "li", "Call grandmother"), shows(shared, "li", "Water the plants")]);
  await network.cut();
  await shows(shared, "#state", "no network now");
  await shared.getByLabel("Buy bread").check();
  await add(shared, "Feed the cat");
  await shows(shared, "#state", "2 changes wait");
  await shoot("todo-offline", { own, shared });
  await own.locator("li:not(.done)", { hasText: "Buy bread" }).waitFor();
  network.mend();
  await shows(own, "li", "Feed the cat");
  await own.locator("li.done", { hasText: "Buy bread" }).waitFor();
  await own.reload();
  await shows(own, "li", "Feed the cat");
  await own.locator("li", { hasText: "Buy bread" }).getByRole("button", { name: "Remove" }).click();
  await shared.locator("li", { hasText: "Buy bread" }).waitFor({ state: "detached" });
  await shows(shared, "#state", "2 devices are here");
  await shoot("todo", { own, shared });
});

test("a link is good for one, and says so to the next", async (t) => {
  const own = await open(await person(t), `${examples}/todo/`);
  await own.getByRole("button", { name: "Share this list" }).click();
  const link = await invitation(own), first = await open(await person(t), link);
  await first.waitForURL(/#[0-9a-f-]{36}$/);
  await first.reload();
  await shows(first, "#state", "devices are here");
  const second = await open(await person(t, {}, /404|not_found/), link);
  await shows(second, "#state", "not_found");
});

test("nothing can be clicked before its session is open", async (t) => {
  for (const name of ["meditation", "chess", "todo"]) {
    const context = await person(t);
    let goOn;
    const held = new Promise((resolve) => (goOn = resolve));
    await context.route(/\/token\?/, async (route) => (await held, route.continue()));
    const page = await open(context, `${examples}/${name}/`);
    const isOpenTo = () => page.evaluate(() => [...document.querySelectorAll("button, input, select")].filter((e) => e.checkVisibility() && !e.closest("[inert]")).length);
    assert.equal(await isOpenTo(), 0, name);
    goOn();
    await page.waitForURL(/#[0-9a-f-]{36}$/);
    assert.ok((await isOpenTo()) > 0, name);
  }
});
