// Time travel: what the data was at a version, what it took from another one to there, and the way back.

import { diff } from "./client/index.js";
import { attempt, button, card, el, explain, field, fill, iconButton, newId, openDialog, say } from "./dom.js";
import { place, preview, shorten } from "./format.js";

const MOST_LINES = 200,
  MOST_TEXT = 100000,
  MOST_KEPT = 60;
const SETTLE_MS = 120; // the slider stands still
const MOST_TRIES = 4;

function valueAt(data, pointer) {
  return pointer
    .split("/")
    .slice(2)
    .reduce((value, token) => value?.[token.replace(/~1/g, "/").replace(/~0/g, "~")], data);
}

/* Operations that lead from one version to the next, as lines; b: the data after them. */
function diffLines(a, b) {
  const operations = diff(a, b, "/data");
  const lines = operations.slice(0, MOST_LINES).map(({ op, path, value }) => {
    const old = op === "add" ? null : preview(valueAt(a, path), 80);
    const sign = op === "add" ? "+" : op === "remove" ? "−" : "~";
    const said = op === "add" ? "added" : op === "remove" ? "removed" : "changed";
    return el(
      "li",
      { class: `change ${said}` },
      el("span", { class: "sign", "aria-hidden": "true" }, sign),
      el("span", { class: "visually-hidden" }, `${said}: `),
      el("span", { class: "change-path" }, place(path)),
      old === null ? null : el("del", {}, old),
      op === "replace" ? el("span", { class: "sign", "aria-hidden": "true" }, "→") : null,
      op === "remove" ? null : el("ins", {}, preview(value, 80)),
    );
  });
  if (operations.length > MOST_LINES) {
    lines.push(el("li", { class: "empty" }, `and ${operations.length - MOST_LINES} more`));
  }
  return lines;
}

export class Travel {
  constructor(account, session, canEdit) {
    this.account = account;
    this.session = session;
    this.canEdit = canEdit;
    this.versions = new Map(); // "epoch:version" → promise of the data
    this.isAtLatest = true;
    this.at = this.slider("Version");
    this.from = this.slider("From version");
    this.with = el(
      "select",
      { class: "input" },
      el("option", { value: "before" }, "the version before"),
      el("option", { value: "now" }, "what there is now"),
      el("option", { value: "chosen" }, "a chosen version"),
    );
    this.with.addEventListener("change", () => this.look());
    this.fromField = field("Chosen version", this.from.element);
    this.title = el("p", { class: "travel-title", "aria-live": "polite" });
    this.lines = el("ul", { class: "changes" });
    this.labels = el("div", { class: "chips" });
    this.show = button("Show all data", { kind: "small", onclick: (e) => attempt(e.currentTarget, () => this.showData()) });
    this.restore = button("Restore this version", { kind: "small", onclick: (e) => attempt(e.currentTarget, () => this.goBack()) });
    const keep = button("Keep a snapshot", { kind: "small quiet", onclick: () => this.askLabel() });
    this.keep = keep;
    const step = (label, name, by) => iconButton(label, name, { onclick: () => this.go(Number(this.at.input.value) + by) });
    this.element = card(
      "Time travel",
      keep,
      el(
        "div",
        { class: "travel" },
        el("div", { class: "travel-slider" }, step("One version back", "back", -1), this.at.element, step("One version on", "forth", 1)),
        el("div", { class: "travel-with" }, field("Compared with", this.with), this.fromField),
        this.title,
        this.lines,
        el("div", { class: "actions" }, this.show, this.restore),
        this.labels,
      ),
    );
  }

  slider(label) {
    const id = newId("slider");
    const input = el("input", { type: "range", min: 1, step: 1, id, "aria-label": label });
    const output = el("output", { for: id, class: "mono" });
    input.addEventListener("input", () => {
      this.isAtLatest = Number(this.at.input.value) === this.session.confirmed.version;
      this.draw();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.look(), SETTLE_MS);
    });
    const element = el("div", { class: "slider" }, input, output);
    return { input, output, element };
  }

  /** The session has moved on. */
  update() {
    const { version } = this.session.confirmed;
    for (const { input } of [this.at, this.from]) {
      input.max = String(version);
      input.disabled = version < 2;
    }
    if (this.isAtLatest) {
      this.at.input.value = String(version);
    }
    this.draw();
  }

  draw() {
    const { version } = this.session.confirmed;
    const at = Number(this.at.input.value);
    say(this.at.output, `${at} of ${version}`);
    say(this.from.output, `${this.from.input.value} of ${version}`);
    this.at.input.setAttribute("aria-valuetext", `version ${at} of ${version}`);
    this.fromField.hidden = this.with.value !== "chosen";
    this.restore.disabled = !this.canEdit() || at === version;
    this.keep.hidden = !this.canEdit();
    this.title.classList.toggle("hint", !this.hasLooked);
    if (!this.hasLooked) {
      say(this.title, "Move the slider to see what each version changed.");
    }
  }

  go(version) {
    this.at.input.value = String(version);
    this.isAtLatest = Number(this.at.input.value) === this.session.confirmed.version;
    this.draw();
    return this.look();
  }

  /* What the data was then. A version that is very new is not in the audit trail yet: it is asked for again. */
  async dataOf(version) {
    const { epoch, version: latest, data } = this.session.confirmed;
    if (version === latest) {
      return data;
    }
    const key = `${epoch}:${version}`;
    if (!this.versions.has(key)) {
      this.versions.set(
        key,
        this.ask(version, epoch).catch((error) => {
          this.versions.delete(key);
          throw error;
        }),
      );
      if (this.versions.size > MOST_KEPT) {
        this.versions.delete(this.versions.keys().next().value);
      }
    }
    return this.versions.get(key);
  }

  async ask(version, epoch) {
    for (let n = 1; ; n++) {
      try {
        return (await this.account.json(`/sessions/${this.session.sessionId}/snapshots/${version}?epoch=${epoch}`)).data;
      } catch (error) {
        if (error.status !== 503 || n === MOST_TRIES) {
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs || 1000));
      }
    }
  }

  get base() {
    const at = Number(this.at.input.value);
    return { before: at - 1, now: this.session.confirmed.version, chosen: Number(this.from.input.value) }[this.with.value];
  }

  async look() {
    this.hasLooked = true;
    this.draw();
    const at = Number(this.at.input.value),
      base = this.base;
    const turn = (this.turn = {});
    try {
      const [was, is] = await Promise.all([base < 1 ? null : this.dataOf(base), this.dataOf(at)]);
      if (turn === this.turn) {
        this.drawDiff(base, at, was, is);
      }
    } catch (error) {
      if (turn === this.turn) {
        say(this.title, error.code === "version_gone" ? `Version ${at} can no longer be rebuilt.` : explain(error));
        fill(this.lines);
      }
    }
  }

  drawDiff(base, at, was, is) {
    if (base < 1) {
      say(this.title, "Version 1: the session was created with this data.");
      fill(
        this.lines,
        el(
          "li",
          { class: "change" },
          el("span", { class: "change-path" }, "data"),
          el("ins", {}, shorten(JSON.stringify(is).slice(0, 400), 300)),
        ),
      );
      return;
    }
    const lines = diffLines(was, is);
    say(this.title, lines.length ? `From version ${base} to ${at}` : `From version ${base} to ${at}: the data is the same.`);
    fill(this.lines, ...lines);
  }

  async showData() {
    const at = Number(this.at.input.value);
    const text = JSON.stringify(await this.dataOf(at), null, 2);
    const rest = text.length - MOST_TEXT;
    openDialog(
      `Data at version ${at}`,
      el("pre", { class: "json", tabindex: "0", "aria-label": "Data" }, text.slice(0, MOST_TEXT)),
      rest > 0 ? el("p", { class: "hint" }, `and ${rest.toLocaleString("en")} characters more`) : null,
    );
  }

  async goBack() {
    const version = Number(this.at.input.value);
    await this.account.json(`/sessions/${this.session.sessionId}/restore`, {
      method: "POST",
      body: { version, epoch: this.session.confirmed.epoch },
    });
    this.isAtLatest = true;
    this.update();
  }

  askLabel() {
    const label = el("input", { class: "input", maxlength: 255, autocomplete: "off" });
    const submit = button("Keep it", { kind: "primary", type: "submit" });
    const form = el(
      "form",
      { class: "stack" },
      field("Label", label, "What this version is to be found by; may be left empty."),
      el("div", { class: "actions" }, submit),
    );
    const dialog = openDialog("Keep a snapshot", form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void attempt(submit, async () => {
        const text = label.value.trim();
        const made = await this.account.json(`/sessions/${this.session.sessionId}/snapshots`, {
          method: "POST",
          body: text ? { label: text } : {},
        });
        dialog.close();
        this.snapshots = [
          { version: made.version, epoch: made.epoch, label: made.label },
          ...(this.snapshots ?? []).filter((s) => s.version !== made.version),
        ];
        this.drawLabels();
      });
    });
  }

  async loadLabels() {
    this.snapshots = (await this.account.json(`/sessions/${this.session.sessionId}/snapshots?limit=20`)).items;
    this.drawLabels();
  }

  drawLabels() {
    const { epoch } = this.session.confirmed;
    const named = (this.snapshots ?? []).filter((snapshot) => snapshot.label && snapshot.epoch === epoch);
    fill(
      this.labels,
      ...named.map(({ version, label }) => button(`${shorten(label, 40)} · ${version}`, { kind: "chip", onclick: () => this.go(version) })),
    );
  }
}
