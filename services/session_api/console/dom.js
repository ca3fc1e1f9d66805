// Elements and what is said to the user. What comes from a session is only ever put in as text.

const SVG = "http://www.w3.org/2000/svg";

function put(element, name, value) {
  if (name === "class") {
    element.className = value;
  } else if (name.startsWith("on")) {
    element.addEventListener(name.slice(2), value);
  } else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden" || name === "readOnly") {
    element[name] = value;
  } else if (value === true) {
    element.setAttribute(name, "");
  } else if (value !== false && value !== null && value !== undefined) {
    element.setAttribute(name, String(value));
  }
}

/** Children: elements, or texts; null is left out. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    put(element, name, value);
  }
  fill(element, ...children);
  return element;
}

/** Makes these the children. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Where it differs only: a selection in it, and what reads it aloud, are left alone. */
export function say(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

const ICONS = {
  pause: ["M5.5 3.5v9", "M10.5 3.5v9"],
  play: ["M5 3.2v9.6l7.5-4.8z"],
  check: ["M3 8.5l3.2 3.2L13 4.8"],
  send: ["M2.5 4.5a1 1 0 0 1 1-1h2a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-2a1 1 0 0 1-1-1z", "M8.5 8h5", "M11.2 5.7L13.5 8l-2.3 2.3"],
  copy: ["M5.5 5.5h7v7h-7z", "M3.5 10.5v-7h7"],
  chevron: ["M6 4l4 4-4 4"],
  plus: ["M8 3v10", "M3 8h10"],
  close: ["M4 4l8 8", "M12 4l-8 8"],
  back: ["M9.5 3.5L5 8l4.5 4.5"],
  forth: ["M6.5 3.5L11 8l-4.5 4.5"],
  edit: ["M3 13l.6-2.6 7-7 2 2-7 7z"],
  swap: ["M3 6h9.5", "M10 3.5L12.5 6 10 8.5", "M13 10.5H3.5", "M6 8l-2.5 2.5L6 13"],
  leave: ["M6.5 3h-3v10h3", "M7 8h6", "M10.7 5.7L13 8l-2.3 2.3"],
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [attribute, value] of [
    ["viewBox", "0 0 16 16"],
    ["class", "icon"],
    ["aria-hidden", "true"],
  ]) {
    svg.setAttribute(attribute, value);
  }
  for (const d of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

export function button(label, { icon: name, kind = "", ...properties } = {}) {
  return el("button", { type: "button", class: `button ${kind}`, ...properties }, name ? icon(name) : null, el("span", {}, label));
}

/** With a picture only; the label is read aloud and shown as a hint. */
export function iconButton(label, name, properties = {}) {
  return el("button", { type: "button", class: "button quiet square", "aria-label": label, title: label, ...properties }, icon(name));
}

let serial = 0;

export function newId(what) {
  return `${what}-${++serial}`;
}

/** A labelled control. */
export function field(label, control, hint = null) {
  control.id ||= newId("field");
  const parts = [el("label", { for: control.id }, label), control];
  if (hint) {
    const note = el("p", { class: "hint", id: newId("hint") }, hint);
    control.setAttribute("aria-describedby", note.id);
    parts.push(note);
  }
  return el("div", { class: "field" }, ...parts);
}

/** A card with a heading; what else the head has, and the body. */
export function card(title, head, ...body) {
  const id = newId("card");
  return el(
    "section",
    { class: "card", "aria-labelledby": id },
    el("div", { class: "card-head" }, el("h2", { id }, title), el("div", { class: "card-tools" }, head)),
    ...body,
  );
}

/** Read aloud, not shown. */
export function announce(text) {
  say(document.getElementById("live"), text);
}

const MAX_TOASTS = 3;

/** Shown for some seconds, and read aloud. */
export function toast(text, kind = "error") {
  const toasts = document.getElementById("toasts");
  const item = el("div", { class: `toast ${kind}` }, el("span", {}, text));
  item.append(iconButton("Dismiss", "close", { onclick: () => item.remove() }));
  toasts.append(item);
  while (toasts.children.length > MAX_TOASTS) {
    toasts.firstChild.remove();
  }
  setTimeout(() => item.remove(), 8000);
}

export function explain(error) {
  return error?.problem?.detail || error?.message || String(error);
}

/** What a button begins: it cannot be pressed again meanwhile, and says so when it fails. */
export async function attempt(control, work) {
  if (control.getAttribute("aria-busy") === "true") {
    return undefined;
  }
  control.setAttribute("aria-busy", "true");
  try {
    return await work();
  } catch (error) {
    toast(explain(error));
    return undefined;
  } finally {
    control.removeAttribute("aria-busy");
  }
}

export async function copyText(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`, "fine");
  } catch {
    toast("The browser does not let this page copy.");
  }
}

/** A modal dialog; the browser keeps the focus in it and gives it back. Returns the element; remove() is done at its end. */
export function openDialog(title, ...body) {
  const id = newId("dialog");
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": id });
  const close = iconButton("Close", "close", { onclick: () => dialog.close() });
  dialog.append(el("div", { class: "dialog-head" }, el("h2", { id }, title), close), ...body);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
