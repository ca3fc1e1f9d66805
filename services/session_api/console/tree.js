// A JSON value as a tree that follows its changes: what changed is marked, what did not is not touched. Only what is open is there, and
// of that only so many members, so that the largest document costs no more than a small one.

import { diff } from "./client/index.js";
import { editValue } from "./editor.js";
import { el, icon, say } from "./dom.js";
import { kindOf, preview, shorten } from "./format.js";

const PAGE = 100; // members shown at first, and with each "more"
const FIRST_ROWS = 80; // opened at the beginning
const MARKED_MS = 1800;

const isContainer = (value) => value !== null && typeof value === "object";
const escape = (token) => String(token).replace(/~/g, "~0").replace(/\//g, "~1");
const namesOf = (value) => (Array.isArray(value) ? value.keys() : Object.keys(value));

class Item {
  constructor(tree, parent, name, value) {
    this.tree = tree;
    this.parent = parent;
    this.name = name;
    this.level = parent ? parent.level + 1 : 1;
    this.limit = PAGE;
    this.children = new Map();
    this.row = el("div", { class: "row", onclick: () => this.press() });
    this.element = el("li", { role: "treeitem", tabindex: "-1", "aria-level": this.level }, this.row);
    this.element.item = this;
    this.value = value;
    this.draw();
  }

  get pointer() {
    return this.parent ? `${this.parent.pointer}/${escape(this.name)}` : "/data";
  }

  get isOpen() {
    return this.group !== undefined;
  }

  get size() {
    return isContainer(this.value) ? (Array.isArray(this.value) ? this.value.length : Object.keys(this.value).length) : 0;
  }

  draw() {
    const label = this.parent ? shorten(String(this.name), 120) : "data";
    const kind = kindOf(this.value);
    const text = preview(this.value, 160);
    this.text = el("span", { class: `value ${kind}` }, text);
    this.row.replaceChildren(
      el("span", { class: `twisty${isContainer(this.value) && this.size ? "" : " none"}` }, icon("chevron")),
      el("span", { class: this.parent && Array.isArray(this.parent.value) ? "name index" : "name" }, label),
      this.text,
    );
    this.drawOpen();
  }

  drawOpen() {
    if (isContainer(this.value) && this.size > 0) {
      this.element.setAttribute("aria-expanded", String(this.isOpen));
    } else {
      this.element.removeAttribute("aria-expanded");
    }
  }

  mark() {
    this.row.classList.add("changed");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.row.classList.remove("changed"), MARKED_MS);
  }

  /** Takes the value that is there now. */
  update(value) {
    const before = this.value;
    if (before === value) {
      return;
    }
    this.value = value;
    if (!isContainer(value) || !isContainer(before) || Array.isArray(value) !== Array.isArray(before)) {
      if (isContainer(value) || isContainer(before) || value !== before) {
        this.close();
        this.draw();
        this.mark();
      }
    } else if (!this.isOpen) {
      const differs = diff(before, value).length > 0;
      this.draw();
      if (differs) {
        this.mark();
      }
    } else {
      say(this.text, preview(value));
      this.drawMembers(true);
    }
  }

  drawMembers(marks) {
    const names = [];
    for (const name of namesOf(this.value)) {
      if (names.length === this.limit) {
        break;
      }
      names.push(name);
    }
    const shown = new Set(names);
    for (const [name, child] of this.children) {
      if (!shown.has(name)) {
        child.element.remove();
        this.children.delete(name);
        if (marks) {
          this.mark();
        }
      }
    }
    names.forEach((name, at) => this.drawMember(name, at, marks));
    this.drawMore();
    if (this.size === 0) {
      this.close();
    }
  }

  drawMember(name, at, marks) {
    const value = this.value[name];
    let child = this.children.get(name);
    if (child) {
      child.update(value);
    } else {
      child = new Item(this.tree, this, name, value);
      this.children.set(name, child);
      if (marks) {
        child.mark();
      }
    }
    if (this.group.children[at] !== child.element) {
      this.group.insertBefore(child.element, this.group.children[at] ?? null);
    }
  }

  drawMore() {
    this.more?.remove();
    this.more = null;
    const rest = this.size - this.limit;
    if (rest > 0) {
      const row = el("div", { class: "row more" }, `${Math.min(rest, PAGE)} more of ${rest.toLocaleString("en")}`);
      this.more = el("li", { role: "treeitem", tabindex: "-1", "aria-level": this.level + 1, onclick: () => this.showMore() }, row);
      this.more.item = { press: () => this.showMore(), parent: this, isOpen: false };
      this.group.append(this.more);
    }
  }

  showMore() {
    const first = this.limit;
    this.limit += PAGE;
    this.drawMembers(false);
    this.tree.focus(this.group.children[first]);
  }

  open() {
    if (this.isOpen || !isContainer(this.value) || this.size === 0) {
      return;
    }
    this.group = el("ul", { role: "group" });
    this.element.append(this.group);
    this.drawMembers(false);
    this.drawOpen();
  }

  close() {
    this.group?.remove();
    this.group = undefined;
    this.children.clear();
    this.drawOpen();
  }

  press() {
    this.tree.focus(this.element);
    if (isContainer(this.value) && this.size > 0) {
      (this.isOpen ? this.close : this.open).call(this);
    } else {
      this.edit();
    }
  }

  edit() {
    if (this.tree.canEdit()) {
      editValue(this, this.tree.save);
    }
  }

  add() {
    if (this.tree.canEdit() && isContainer(this.value)) {
      this.open();
      editValue(this, this.tree.save, true);
    }
  }
}

export class Tree {
  /** save(operations) → promise; canEdit() → whether this device may. */
  constructor({ save, canEdit }) {
    this.save = save;
    this.canEdit = canEdit;
    this.root = null;
    this.element = el("ul", { role: "tree", class: "tree", "aria-label": "The session's data", onkeydown: (event) => this.onKey(event) });
  }

  update(value) {
    if (this.root) {
      this.root.update(value);
    } else {
      this.root = new Item(this, null, "data", value);
      this.element.append(this.root.element);
      this.root.element.tabIndex = 0;
      this.openFirst();
    }
    if (!this.element.querySelector('[tabindex="0"]')) {
      this.root.element.tabIndex = 0; // what had it is gone
    }
  }

  /* The outermost levels, as long as they are few rows. */
  openFirst() {
    let rows = 1;
    for (let level = [this.root]; level.length;) {
      const next = [];
      for (const item of level) {
        if (rows + Math.min(item.size, PAGE) <= FIRST_ROWS || item === this.root) {
          item.open();
          rows += item.children.size;
          next.push(...item.children.values());
        }
      }
      level = next;
    }
  }

  focus(element) {
    this.element.querySelector('[tabindex="0"]')?.setAttribute("tabindex", "-1");
    element.tabIndex = 0;
    element.focus();
  }

  onKey(event) {
    const element = event.target.closest('[role="treeitem"]');
    if (event.target !== element || event.ctrlKey || event.metaKey || event.altKey) {
      return; // in an editor
    }
    if (this.take(event.key, element)) {
      event.preventDefault();
    }
  }

  take(key, element) {
    const { item } = element;
    const all = [...this.element.querySelectorAll('[role="treeitem"]')];
    const move = (to) => to && this.focus(to);
    switch (key) {
      case "ArrowDown":
        move(all[all.indexOf(element) + 1]);
        return true;
      case "ArrowUp":
        move(all[all.indexOf(element) - 1]);
        return true;
      case "Home":
        move(all[0]);
        return true;
      case "End":
        move(all.at(-1));
        return true;
      case "ArrowRight":
        if (item.isOpen) {
          move(item.group.firstChild);
        } else {
          item.open?.();
        }
        return true;
      case "ArrowLeft":
        if (item.isOpen) {
          item.close();
        } else {
          move(item.parent?.element);
        }
        return true;
      case "Enter":
      case " ":
        item.press();
        return true;
      case "F2":
      case "e":
        item.edit?.();
        return true;
      case "a":
        item.add?.();
        return true;
      default:
        return false;
    }
  }
}
