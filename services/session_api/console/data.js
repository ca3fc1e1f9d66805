// The session's data: as a tree, or as JSON text to be edited as a whole.

import { attempt, button, card, el, explain, newId, say } from "./dom.js";
import { bytes, ms } from "./format.js";
import { Tree } from "./tree.js";

const encoder = new TextEncoder();

export class DataCard {
  constructor(session, canEdit) {
    this.session = session;
    this.canEdit = canEdit;
    this.note = el("span", { class: "stat", "aria-live": "polite" });
    this.tree = new Tree({ save: (operations) => this.save(operations), canEdit });
    this.text = el("textarea", { class: "input mono json-text", rows: 16, spellcheck: "false", "aria-label": "Data as JSON" });
    this.text.addEventListener("input", () => this.drawText());
    this.apply = button("Apply", { kind: "primary small", onclick: (e) => this.applyText(e.currentTarget) });
    this.discard = button("Discard", { kind: "small", onclick: () => this.showText() });
    this.problem = el("p", { class: "notice", role: "alert", hidden: true });
    this.hint = el("p", { class: "hint keys" });
    this.panels = {
      Tree: el("div", { class: "panel tree-panel" }, this.tree.element, this.hint),
      JSON: el(
        "div",
        { class: "panel stack", hidden: true },
        this.text,
        this.problem,
        el("div", { class: "actions" }, this.apply, this.discard),
      ),
    };
    this.element = card("Data", [this.note, this.makeTabs()], ...Object.values(this.panels));
  }

  makeTabs() {
    const tabs = Object.entries(this.panels).map(([name, panel], i) => {
      const tab = el(
        "button",
        {
          type: "button",
          role: "tab",
          class: "segment",
          id: newId("tab"),
          "aria-selected": String(i === 0),
          tabindex: i === 0 ? 0 : -1,
          onclick: () => this.show(name),
        },
        name,
      );
      panel.id = newId("panel");
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      tab.setAttribute("aria-controls", panel.id);
      return tab;
    });
    const list = el("div", { role: "tablist", class: "segments", "aria-label": "How the data is shown" }, ...tabs);
    list.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
        const next = tabs[(tabs.indexOf(event.target) + 1) % tabs.length];
        next.click();
        next.focus();
      }
    });
    this.tabs = tabs;
    return list;
  }

  show(name) {
    for (const tab of this.tabs) {
      const isShown = tab.textContent === name;
      tab.setAttribute("aria-selected", String(isShown));
      tab.tabIndex = isShown ? 0 : -1;
      this.panels[tab.textContent].hidden = !isShown;
    }
    if (name === "JSON") {
      this.showText();
    }
  }

  /** Takes what there is now. */
  update() {
    const { data } = this.session;
    if (data !== this.shown) {
      this.shown = data;
      this.tree.update(data);
      if (!this.panels.JSON.hidden && this.text.value === this.given) {
        this.showText();
      }
    }
    const canEdit = this.canEdit();
    this.text.readOnly = !canEdit;
    this.apply.hidden = this.discard.hidden = !canEdit;
    say(this.hint, canEdit ? "Arrow keys move, Enter edits or opens, A adds a member." : "Arrow keys move, Enter opens.");
    this.drawText();
  }

  showText() {
    this.text.value = this.given = JSON.stringify(this.session.data, null, 2);
    this.problem.hidden = true;
    this.drawText();
  }

  drawText() {
    const isSame = this.text.value === this.given;
    this.apply.disabled = this.discard.disabled = isSame;
  }

  applyText(control) {
    let value;
    try {
      value = JSON.parse(this.text.value);
    } catch (error) {
      this.problem.textContent = `Not JSON: ${error.message}`;
      this.problem.hidden = false;
      return undefined;
    }
    return attempt(control, async () => {
      const saved = this.save(() => value);
      this.showText();
      await saved;
    });
  }

  /* Shown at once; the promise is the server's answer. */
  async save(change) {
    const began = performance.now();
    say(this.note, "saving …");
    try {
      const { rebased } = await this.session.patch(change);
      say(this.note, `saved in ${ms(performance.now() - began)}${rebased ? ", beside another's change" : ""}`);
    } catch (error) {
      say(this.note, "");
      throw new Error(`Taken back: ${explain(error)}`);
    }
  }

  /** The size of the data, for people. */
  size() {
    const { data } = this.session;
    if (data !== this.measured) {
      this.measured = data;
      this.sizeText = bytes(encoder.encode(JSON.stringify(data)).length);
    }
    return this.sizeText;
  }
}
