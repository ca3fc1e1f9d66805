// An app's own web server, at an origin of its own: its pages, the compiled client, a token for who asks. And the browser that shows them.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";
import { apiUrl, socketUrl, token } from "../../clients/js/test/stack.mjs";

const { HANDOFF_SITE_PORT: port } = process.env;
export const origin = `http://127.0.0.1:${port}`;

const here = new URL(".", import.meta.url);
const FOLDERS = {
  "": here,
  client: new URL("../../clients/js/dist/esm/", here),
  hooks: new URL("../../clients/react/dist/esm/", here),
  react: new URL("file:///usr/share/nodejs/react/umd/"),
  "react-dom": new URL("file:///usr/share/nodejs/react-dom/umd/"),
};
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8" };

async function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, origin);
  if (pathname === "/token") {
    response.end(token(searchParams.get("user")));
    return;
  }
  const [, folder, name] = /^\/(?:([a-z-]+)\/)?([a-z0-9.-]+)$/.exec(pathname) ?? [];
  const body = name && (await readFile(new URL(name, FOLDERS[folder ?? ""])).catch(() => null));
  const policy = searchParams.get("policy");
  response.writeHead(body ? 200 : 404, {
    "Content-Type": TYPES[name?.split(".").at(-1)] ?? "text/plain",
    ...(policy ? { "Content-Security-Policy": policy } : {}),
  });
  response.end(body);
}

export async function startSite() {
  const server = createServer((request, response) => void answer(request, response));
  await new Promise((resolve) => server.listen(Number(port), "127.0.0.1", resolve));
  return server;
}

export function startBrowser() {
  return chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/** A device of the user's: a browser profile, whose tabs share what it stores. An error on one of its pages fails the test. */
export async function profile(t, browser, { user = randomUUID(), api = apiUrl, sockets = socketUrl } = {}) {
  const context = await browser.newContext();
  context.setDefaultTimeout(15000);
  const errors = [];
  context.on("weberror", (error) => errors.push(error.error()));
  t.after(async () => {
    await context.close();
    if (errors.length) {
      throw errors[0];
    }
  });
  return {
    user,
    context,
    async tab(path = "/page.html") {
      const page = await context.newPage();
      await page.goto(origin + path);
      await begin(page);
      return page;
    },
    begin,
  };

  /* As the page's own script would do it when it is loaded. */
  async function begin(page) {
    await page.waitForFunction(() => window.start);
    await page.evaluate((options) => void window.start(options), { url: api, socketUrl: sockets, user });
  }
}

/** The page's `session` is that one, from here on. */
export function open(page, sessionId) {
  return page.evaluate(async (id) => void (window.session = await window.handoff.open(id)), sessionId);
}

/** Waits until it holds of the page's `session`, at each thing that it tells; `fits` is called in the page. */
export function until(page, fits, argument) {
  return page.evaluate(([text, value]) => new Promise((resolve) => {
    const holds = (0, eval)(`(${text})`), { session } = window, offs = [];
    const look = () => holds(session, value) && (offs.forEach((off) => off()), resolve());
    offs.push(session.on("change", look), session.on("state", look));
    look();
  }), [fits.toString(), argument]);
}
