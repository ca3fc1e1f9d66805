// Handing off: a code that another device takes the session with, as a picture to point a camera at.

import { attempt, button, copyText, el, explain, field, fill, openDialog, say } from "./dom.js";
import { shorten } from "./format.js";

const TTL_SECONDS = 120;
const CHOICES = [
  ["", "My other device", "Goes on as you: for your own phone, tablet or laptop."],
  ["editor", "Somebody who may change it", "Becomes a participant with the role of an editor."],
  ["viewer", "Somebody who may look", "Becomes a participant with the role of a viewer."],
];

function choice([value, title, text], i) {
  const input = el("input", { type: "radio", name: "who", value, checked: i === 0 });
  return el("label", { class: "choice" }, input, el("span", {}, el("strong", {}, title), el("span", { class: "hint" }, text)));
}

export class HandoffDialog {
  constructor(account, session) {
    this.account = account;
    this.session = session;
    this.make = button("Make a code", { kind: "primary", type: "submit" });
    this.body = el("div", { class: "stack" });
    this.form = el(
      "form",
      { class: "stack" },
      el("fieldset", { class: "choices" }, el("legend", {}, "Who takes it?"), ...CHOICES.map(choice)),
      el("div", { class: "actions" }, this.make),
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.offer(new FormData(this.form).get("who"));
    });
    fill(this.body, this.form);
    this.dialog = openDialog("Hand off", this.body);
    this.dialog.addEventListener("close", () => this.end());
    this.unlisten = session.on("devices", (change) => this.arrived(change));
  }

  get path() {
    return `/sessions/${this.session.sessionId}/handoff-codes`;
  }

  end() {
    this.unlisten();
    clearInterval(this.timer);
    if (this.picture) {
      URL.revokeObjectURL(this.picture);
    }
  }

  offer(role) {
    return attempt(this.make, async () => {
      try {
        const code = await this.account.json(this.path, { method: "POST", body: { ttlSeconds: TTL_SECONDS, ...(role ? { role } : {}) } });
        await this.show(code);
      } catch (error) {
        this.refuse(explain(error));
      }
    });
  }

  refuse(text) {
    this.form.querySelector(".notice")?.remove();
    this.form.prepend(el("p", { class: "notice", role: "alert" }, text));
  }

  async show({ code, url, expiresAt }) {
    const answer = await this.account.fetch(`${this.path}/${encodeURIComponent(code)}`, { headers: { Accept: "image/svg+xml" } });
    this.picture = URL.createObjectURL(new Blob([await answer.arrayBuffer()], { type: "image/svg+xml" }));
    const link = el("input", { class: "input mono", value: url, readOnly: true });
    this.state = el("p", { class: "waiting", "aria-live": "polite" }, "Waiting for the other device …");
    this.left = el("p", { class: "hint" });
    fill(
      this.body,
      el("div", { class: "qr" }, el("img", { src: this.picture, alt: "QR code of the link below", width: 240, height: 240 })),
      this.state,
      this.left,
      field("Or open this link there", link),
      el(
        "div",
        { class: "actions" },
        button("Copy the link", { icon: "copy", onclick: () => copyText(url, "Link") }),
        button("Another code", { onclick: () => this.again() }),
      ),
    );
    this.countDown(Date.parse(expiresAt));
  }

  again() {
    clearInterval(this.timer);
    URL.revokeObjectURL(this.picture);
    this.state = null;
    fill(this.body, this.form);
    this.make.focus();
  }

  countDown(end) {
    const tick = () => {
      const left = Math.min(TTL_SECONDS, Math.ceil((end - this.account.now()) / 1000));
      say(this.left, left > 0 ? `Good once, for ${left} s` : "This code has run out.");
      if (left <= 0) {
        clearInterval(this.timer);
        this.body.querySelector(".qr")?.classList.add("over");
        say(this.state, "No device came in time.");
      }
    };
    clearInterval(this.timer);
    this.timer = setInterval(tick, 500);
    tick();
  }

  arrived({ joined, name }) {
    if (!this.state || joined.length === 0 || joined.includes(this.account.deviceId)) {
      return;
    }
    clearInterval(this.timer);
    say(this.state, `${shorten(name || joined[0], 60)} is here.`);
    this.state.classList.add("done");
    say(this.left, "");
    this.body.querySelector(".qr")?.classList.add("over");
  }
}

/** Takes a session by code: {session, token?, deviceId?}; throws with a text for the user. account: null without a sign-in. */
export async function redeem(code, account) {
  const headers = {
    "Content-Type": "application/json",
    ...(account ? { Authorization: `Bearer ${account.token}`, "X-Device-Id": account.deviceId } : {}),
  };
  const device = account ? account.device : { name: "Console", platform: "web" };
  const response = await fetch("/handoff", { method: "POST", headers, body: JSON.stringify({ code, device }) });
  if (response.ok) {
    return response.json();
  }
  const problem = await response.json().catch(() => ({}));
  if (response.status !== 404) {
    throw new Error(
      response.status === 401
        ? "This server hands sessions off to signed-in devices only: sign in, then open the link again."
        : problem.detail || `The server answered ${response.status}.`,
    );
  }
  const there = await fetch("/handoff", { method: "OPTIONS" });
  throw new Error(there.ok ? "This code was used, has run out, or never was." : "This server does not hand sessions off by code.");
}
