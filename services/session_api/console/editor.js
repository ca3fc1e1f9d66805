// Editing one value of the tree in its place: what is typed is JSON, or else a string.

import { el, attempt, button } from "./dom.js";
import { kindOf, typed } from "./format.js";

const LONG = 80; // characters, above: a field of several lines

function valueField(value) {
  const text = value === undefined ? "" : JSON.stringify(value);
  const properties = { class: "input mono", "aria-label": "Value", value: text, spellcheck: "false", autocomplete: "off" };
  return text.length > LONG || (value !== null && typeof value === "object")
    ? el("textarea", { ...properties, rows: 4 })
    : el("input", properties);
}

const escape = (token) => token.replace(/~/g, "~0").replace(/\//g, "~1");

/* Where the new member goes; null: its name is missing. */
function placeOf(item, name) {
  if (Array.isArray(item.value)) {
    return `${item.pointer}/-`;
  }
  return name?.value === "" ? null : `${item.pointer}/${escape(name.value)}`;
}

/** Puts the editor below the item's row. isNew: for another member of it. save(operations) → promise. */
export function editValue(item, save, isNew = false) {
  if (item.element.querySelector(":scope > .editor")) {
    return;
  }
  const input = valueField(isNew ? undefined : item.value);
  const name =
    isNew && !Array.isArray(item.value)
      ? el("input", { class: "input mono", "aria-label": "Name", placeholder: "name", autocomplete: "off" })
      : null;
  const hint = el("span", { class: "hint", "aria-live": "polite" });
  const submit = button(isNew ? "Add" : "Save", { kind: "primary small", type: "submit" });
  const remove = !isNew && item.parent ? button("Remove", { kind: "danger small" }) : null;
  const cancel = button("Cancel", { kind: "small" });
  const form = el("form", { class: "editor" }, name, input, el("div", { class: "editor-tools" }, submit, remove, cancel, hint));
  const tell = () => {
    const value = typed(input.value);
    hint.textContent = `will be: ${kindOf(value)}`;
  };
  const done = () => {
    form.remove();
    item.tree.focus(item.element);
  };
  const send = (operation) =>
    attempt(submit, async () => {
      const saved = save([operation]); // shown at once, so that the editor can go
      done();
      await saved;
    });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const path = isNew ? placeOf(item, name) : item.pointer;
    if (path === null) {
      name.focus();
      return;
    }
    void send({ op: isNew ? "add" : "replace", path, value: typed(input.value) });
  });
  form.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") {
      done();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      form.requestSubmit();
    }
  });
  input.addEventListener("input", tell);
  cancel.addEventListener("click", done);
  remove?.addEventListener("click", () => void send({ op: "remove", path: item.pointer }));
  item.row.after(form);
  tell();
  (name ?? input).focus();
  if (!name) {
    input.select();
  }
}
