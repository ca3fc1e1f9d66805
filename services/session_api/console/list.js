// One's sessions.

import { openCreate } from "./create.js";
import { attempt, button, el, explain, fill, icon } from "./dom.js";
import { ago, shorten, STATUS_NAMES } from "./format.js";

const REFRESH_MS = 3000;
const PAGE = 30;

export function statusBadge(status) {
  return el("span", { class: `status ${status}` }, STATUS_NAMES[status] ?? status);
}

export class ListView {
  constructor(app) {
    this.app = app;
    this.account = app.account;
    this.n = PAGE;
    this.filter = el(
      "select",
      { class: "input", "aria-label": "Status" },
      el("option", { value: "" }, "All"),
      ...Object.entries(STATUS_NAMES).map(([value, name]) => el("option", { value }, name)),
    );
    this.filter.addEventListener("change", () => this.load());
    const create = button("New session", { icon: "plus", kind: "primary", onclick: () => openCreate((session) => this.create(session)) });
    this.rows = el("ul", { class: "sessions" });
    this.note = el("p", { class: "empty" }, "Loading …");
    this.more = button("Show more", { hidden: true, onclick: (e) => attempt(e.currentTarget, () => this.showMore()) });
    this.element = el(
      "div",
      { class: "page narrow" },
      el("div", { class: "page-head" }, el("h1", {}, "Sessions"), el("div", { class: "actions" }, this.filter, create)),
      el("div", { class: "card flush" }, this.rows, this.note),
      el("div", { class: "center" }, this.more),
    );
    this.timer = setInterval(() => document.visibilityState === "visible" && this.load(), REFRESH_MS);
    void this.load();
  }

  close() {
    clearInterval(this.timer);
  }

  async create(session) {
    const made = await this.account.json("/sessions", {
      method: "POST",
      body: session,
      headers: { "Idempotency-Key": crypto.randomUUID() },
    });
    location.hash = `#/sessions/${made.id}`;
  }

  showMore() {
    this.n += PAGE;
    return this.load();
  }

  /* As many pages as are shown. */
  async ask() {
    const items = [];
    let cursor = null;
    do {
      const query = new URLSearchParams({
        limit: String(Math.min(100, this.n - items.length)),
        ...(this.filter.value ? { status: this.filter.value } : {}),
        ...(cursor ? { cursor } : {}),
      });
      const page = await this.account.json(`/sessions?${query}`);
      items.push(...page.items);
      cursor = page.nextCursor;
    } while (cursor && items.length < this.n);
    return { items, hasMore: Boolean(cursor) };
  }

  async load() {
    const turn = (this.turn = {});
    try {
      const { items, hasMore } = await this.ask();
      if (turn === this.turn) {
        this.draw(items);
        this.more.hidden = !hasMore;
      }
    } catch (error) {
      this.note.textContent = explain(error);
      this.note.hidden = false;
    }
  }

  draw(items) {
    const text = JSON.stringify(items);
    if (text !== this.drawn) {
      const focused = document.activeElement?.dataset?.session;
      fill(this.rows, ...items.map((session) => this.row(session)));
      this.drawn = text;
      if (focused) {
        this.rows.querySelector(`[data-session="${CSS.escape(focused)}"]`)?.focus();
      }
    }
    this.note.hidden = items.length > 0;
    this.note.textContent = this.filter.value ? "No session has this status." : "No sessions yet. Begin one here, or with your app.";
  }

  row(session) {
    const { id, name, type, status, role, version, updatedAt, activeDeviceId } = session;
    const notes = [
      type,
      `version ${version}`,
      role === "owner" ? null : role,
      status === "active" && activeDeviceId ? `on ${shorten(activeDeviceId, 40)}` : null,
    ];
    return el(
      "li",
      {},
      el(
        "a",
        { class: "session-row", href: `#/sessions/${id}`, "data-session": id },
        el(
          "div",
          { class: "session-text" },
          el("span", { class: "session-name" }, shorten(name, 120)),
          el("span", { class: "session-note" }, notes.filter(Boolean).join(" · ")),
        ),
        statusBadge(status),
        el("time", { class: "session-when", datetime: updatedAt }, ago(updatedAt, this.account.now())),
        icon("chevron"),
      ),
    );
  }
}
