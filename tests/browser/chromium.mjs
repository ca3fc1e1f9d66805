// Pages of Chromium that tell what went wrong in them, people with tokens and REST, axe.
import { chromium } from "playwright-core";
import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { HANDOFF_API_URL: apiUrl, HANDOFF_SOCKET_URL: socketUrl, HANDOFF_SECRET: secret } = process.env;
export { apiUrl };

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export function token(user, { seconds = 3600, ...claims } = {}) {
  const body = `${base64({ alg: "HS256", typ: "JWT" })}.${base64({ sub: user, exp: Math.floor(Date.now() / 1000) + seconds, ...claims })}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

/** A user with a device that is no browser. */
export function person() {
  const user = randomUUID();
  const call = async (method, path, body, device = "phone") => {
    const headers = { Authorization: `Bearer ${token(user)}`, "X-Device-Id": device, "Content-Type": "application/json" };
    const answer = await fetch(apiUrl + path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text.slice(0, 300)}`);
    return text ? JSON.parse(text) : null;
  };
  return {
    user,
    call,
    create: (more = {}) => call("POST", "/sessions", { name: "Evening meditation", type: "meditation", data: { progress: 0 }, ...more }),
    set: (id, path, value) => call("PATCH", `/sessions/${id}`, { operations: [{ op: "add", path, value }] }),
  };
}

let browser;

export async function launch() {
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
}

export function close() {
  return browser?.close();
}

/** A page of its own, as of another person or device. `page.faults`: what it complained of, and what it asked of others than the services. */
export async function newPage(t, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  context.setDefaultTimeout(30000);
  const page = await context.newPage();
  page.faults = [];
  const ours = [apiUrl, socketUrl, socketUrl.replace(/^http/, "ws")];
  const judge = (url) =>
    ours.some((origin) => url.startsWith(`${origin}/`)) || url.startsWith(`blob:${apiUrl}/`) || page.faults.push(`asks ${url}`);
  page.on("request", (request) => judge(request.url()));
  page.on("websocket", (socket) => judge(socket.url()));
  page.on(
    "console",
    (message) => ["error", "warning"].includes(message.type()) && page.faults.push(`${message.text()} ${message.location().url}`),
  );
  page.on("pageerror", (error) => page.faults.push(String(error.stack)));
  await page.addInitScript(() =>
    addEventListener("securitypolicyviolation", (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`)),
  );
  t.after(async () => {
    await context.close();
    assert.deepEqual(page.faults, []);
  });
  return page;
}

/** Signed in, at the list or at a session. */
export async function open(page, user, sessionId = null) {
  await page.goto(`${apiUrl}/#token=${token(user)}`);
  await page.getByRole("heading", { name: "Sessions" }).waitFor();
  if (sessionId) {
    await page.goto(`${apiUrl}/#/sessions/${sessionId}`);
    await page.locator(".sync.synced").waitFor();
  }
}

/** What axe-core finds in what is there now. */
export async function findings(page, tags = null) {
  if (!(await page.evaluate(() => "axe" in window))) {
    await page.evaluate(axe);
  }
  const found = await page.evaluate(async (rules) => {
    await Promise.all(document.getAnimations().map((a) => a.finished.catch(() => undefined)));
    const { violations } = await window.axe.run(document, {
      resultTypes: ["violations"],
      ...(rules ? { runOnly: { type: "rule", values: rules } } : {}),
    });
    return violations.map(
      (v) =>
        `${v.id}: ${v.help}: ${v.nodes
          .slice(0, 3)
          .map((n) => `${n.html.slice(0, 160)} ${n.any[0]?.message ?? ""}`)
          .join(" | ")}`,
    );
  }, tags);
  return found;
}
