// Which devices are in the session, which one is active, and who takes part.

import { attempt, button, card, el, fill } from "./dom.js";
import { ago, shorten } from "./format.js";

const MOST = 100;

export class Devices {
  constructor(account, session, isOwner) {
    this.account = account;
    this.session = session;
    this.isOwner = isOwner;
    this.list = el("ul", { class: "people" });
    this.count = el("span", { class: "stat" });
    this.others = el("details", { class: "people-more" }, el("summary", {}), el("ul", { class: "people" }));
    this.element = card("Devices", this.count, this.list, this.others);
  }

  get path() {
    return `/sessions/${this.session.sessionId}/devices`;
  }

  async load() {
    const { items } = await this.account.json(this.path);
    const n = items.filter((device) => device.connected).length;
    this.count.textContent = `${n} connected`;
    const matters = items.filter((device) => device.connected || device.active || device.removed).slice(0, MOST);
    const others = items.filter((device) => !matters.includes(device));
    fill(this.list, ...matters.map((device) => this.row(device)));
    this.drawOthers(others);
  }

  /* Who was here before, folded: each tab of a browser is one. */
  drawOthers(others) {
    this.others.hidden = others.length === 0;
    this.others.firstChild.textContent = `${others.length} that ${others.length === 1 ? "is" : "are"} not here now`;
    fill(
      this.others.lastChild,
      ...others.slice(0, MOST).map((device) => this.row(device)),
      others.length > MOST ? el("li", { class: "empty" }, `and ${others.length - MOST} more`) : null,
    );
  }

  row(device) {
    const { deviceId: id, name, platform, connected, active, removed, lastSeen } = device;
    const isHere = id === this.account.deviceId;
    const state = removed ? "kept out" : connected ? "connected" : lastSeen ? `seen ${ago(lastSeen, this.account.now())}` : "not seen yet";
    const tags = [
      active ? el("span", { class: "tag accent" }, "Active") : null,
      isHere ? el("span", { class: "tag" }, "This device") : null,
    ];
    return el(
      "li",
      { class: "person" },
      el("span", { class: `dot ${removed ? "out" : connected ? "on" : ""}`, "aria-hidden": "true" }),
      el(
        "div",
        { class: "person-text" },
        el("span", { class: "person-name" }, shorten(name || id, 60), ...tags),
        el(
          "span",
          { class: "person-note" },
          [name ? shorten(id, 40) : null, platform ? shorten(platform, 24) : null, state].filter(Boolean).join(" · "),
        ),
      ),
      this.isOwner() && !isHere ? this.tool(id, removed) : null,
    );
  }

  tool(id, isOut) {
    const label = isOut ? "Let in" : "Keep out";
    return button(label, {
      kind: "small quiet",
      "aria-label": `${label}: ${shorten(id, 60)}`,
      onclick: (event) =>
        attempt(event.currentTarget, async () => {
          await this.account.json(`${this.path}/${encodeURIComponent(id)}`, { method: isOut ? "PUT" : "DELETE" });
          await this.load();
        }),
    });
  }
}

const ROLES = ["viewer", "editor"];

export class Participants {
  constructor(account, session, isOwner) {
    this.account = account;
    this.session = session;
    this.isOwner = isOwner;
    this.list = el("ul", { class: "people" });
    this.form = this.makeForm();
    this.element = card("Participants", null, this.list, this.form);
  }

  get path() {
    return `/sessions/${this.session.sessionId}/participants`;
  }

  makeForm() {
    const user = el("input", {
      class: "input mono",
      "aria-label": "User id",
      placeholder: "User id (UUID)",
      autocomplete: "off",
      spellcheck: "false",
      pattern: "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
      required: true,
    });
    const role = el("select", { class: "input", "aria-label": "Role" }, ...ROLES.map((name) => el("option", { value: name }, name)));
    const submit = button("Add", { type: "submit" });
    const form = el("form", { class: "inline-form" }, user, role, submit);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void attempt(submit, async () => {
        await this.give(user.value.trim(), role.value);
        user.value = "";
      });
    });
    return form;
  }

  async give(user, role) {
    await this.account.json(`${this.path}/${encodeURIComponent(user)}`, role ? { method: "PUT", body: { role } } : { method: "DELETE" });
    await this.load();
  }

  async load() {
    const { items } = await this.account.json(this.path);
    this.form.hidden = !this.isOwner();
    fill(this.list, ...items.map((one) => this.row(one)));
  }

  row({ userId, role }) {
    const isYou = userId === this.account.subject;
    const canChange = this.isOwner() && role !== "owner";
    return el(
      "li",
      { class: "person of-people" },
      el("span", { class: "avatar", "aria-hidden": "true" }, userId.slice(0, 2)),
      el(
        "div",
        { class: "person-text" },
        el("span", { class: "person-name mono" }, userId, isYou ? el("span", { class: "tag" }, "You") : null),
        el("span", { class: "person-note" }, role),
      ),
      canChange ? this.tools(userId, role) : null,
    );
  }

  tools(userId, role) {
    const other = ROLES.find((name) => name !== role);
    const change = (label, next) =>
      button(label, {
        kind: "small quiet",
        "aria-label": `${label}: ${userId}`,
        onclick: (e) => attempt(e.currentTarget, () => this.give(userId, next)),
      });
    return el("div", { class: "person-tools" }, change(`Make ${other}`, other), change("Remove", null));
  }
}
