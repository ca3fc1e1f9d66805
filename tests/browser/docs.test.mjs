// The API reference in Chromium, as session_api serves it (tests/e2e/test_console.py starts that).
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { apiUrl, close, findings, launch, newPage } from "./chromium.mjs";

before(launch);
after(close);

const PAGES = ["", "/rest", "/websocket", "/broker", "/errors", "/errors/version_conflict", "/errors/close-codes"];
const SMALL = ["", "/errors", "/errors/version_conflict", "/errors/close-codes"]; // axe takes seconds for the others; of each kind of thing some are enough
const MANY = ".operation ~ .operation ~ .operation, .group ~ .group ~ .group";

/* newPage judges what a page asks, and what its policy forbids. */
test("axe finds nothing, light or dark, and nothing is wider than a phone", async (t) => {
  const page = await newPage(t);
  for (const path of PAGES) {
    await page.setViewportSize({ width: 1280, height: 860 });
    await page.emulateMedia({ colorScheme: "light" });
    await page.goto(`${apiUrl}/docs${path}`);
    if (!SMALL.includes(path)) {
      await page.evaluate((many) => document.querySelectorAll(many).forEach((e) => e.remove()), MANY);
    }
    assert.deepEqual(await findings(page), [], path);
    await page.emulateMedia({ colorScheme: "dark" });
    assert.deepEqual(await findings(page, ["color-contrast"]), [], `${path}, dark`);
    await page.setViewportSize({ width: 360, height: 740 });
    const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(inner <= outer, `${path}: ${inner} px`);
  }
});

test("by keyboard: the content, the filter, a closed part; an address of its own opens it", async (t) => {
  const page = await newPage(t);
  await page.goto(`${apiUrl}/docs/rest`);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => location.hash + document.activeElement.id), "#mainmain");
  const filter = page.getByLabel("Filter");
  await filter.fill("audit trail");
  const shown = page.locator(".contents ul ul li:visible");
  assert.deepEqual(await shown.allInnerTexts(), ["GET The audit trail, newest first, each event as it was published; at most 1 s behind"]);
  await filter.fill("");
  assert.ok((await shown.count()) > 25);
  const examples = page.locator("#patch-sessions-id summary", { hasText: "Examples" }).first();
  await examples.focus();
  await page.keyboard.press("Enter");
  await page.locator("#patch-sessions-id pre").first().waitFor();
});

test("without scripts all is there", async (t) => {
  const page = await newPage(t, { javaScriptEnabled: false });
  await page.goto(`${apiUrl}/docs/broker`);
  await page.getByRole("heading", { name: "state_delta", exact: true }).first().waitFor();
  await page.getByRole("link", { name: "Errors" }).click();
  await page.getByRole("link", { name: "version_conflict" }).click();
  await page.getByRole("heading", { name: "Cure" }).waitFor();
});
