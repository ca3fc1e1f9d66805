// A new session: from a pattern, or by hand.

import { attempt, button, el, explain, field, openDialog } from "./dom.js";

const PATTERNS = {
  Blank: { name: "New session", type: "example", data: {} },
  Meditation: {
    name: "Evening meditation",
    type: "meditation",
    data: { progress: 0, step: "breathing", preferences: { sound: "rain", volume: 40 } },
  },
  "To-do list": {
    name: "Weekend",
    type: "todo",
    data: {
      items: [
        { title: "Water the plants", done: false },
        { title: "Call Joan", done: true },
      ],
    },
  },
  Chess: {
    name: "Friday game",
    type: "chess",
    data: { moves: [] },
    clock: {
      mode: "per_participant",
      totalTimeMs: 300000,
      incrementMs: 3000,
      warningsMs: [30000],
      participants: [{ participantId: "white" }, { participantId: "black" }],
    },
  },
};

function parse(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} is not JSON: ${error.message}`);
  }
}

/** create(session) → promise. */
export function openCreate(create) {
  const name = el("input", { class: "input", required: true, maxlength: 255, autocomplete: "off" });
  const type = el("input", {
    class: "input",
    required: true,
    pattern: "[a-z0-9_\\-]{1,50}",
    autocomplete: "off",
    title: "1 to 50 of a-z 0-9 _ -",
  });
  const data = el("textarea", { class: "input mono", rows: 7, spellcheck: "false" });
  const clock = el("textarea", {
    class: "input mono",
    rows: 4,
    spellcheck: "false",
    "aria-label": "Clock",
    placeholder: "JSON as in POST /sessions; empty: none",
  });
  const clockField = el("details", { class: "more-fields" }, el("summary", {}, "Clock"), clock);
  const submit = button("Create", { kind: "primary", type: "submit" });
  const error = el("p", { class: "notice", role: "alert", hidden: true });
  const use = (title) => {
    const pattern = PATTERNS[title];
    for (const chip of patterns.children) {
      chip.setAttribute("aria-pressed", String(chip.textContent === title));
    }
    name.value = pattern.name;
    type.value = pattern.type;
    data.value = JSON.stringify(pattern.data, null, 2);
    clock.value = pattern.clock ? JSON.stringify(pattern.clock, null, 2) : "";
    clockField.open = Boolean(pattern.clock);
  };
  const patterns = el(
    "div",
    { class: "chips", role: "group", "aria-label": "Begin with" },
    ...Object.keys(PATTERNS).map((title) => button(title, { kind: "chip", onclick: () => use(title) })),
  );
  const form = el(
    "form",
    { class: "stack" },
    patterns,
    el("div", { class: "two" }, field("Name", name), field("Type", type)),
    field("Data", data),
    clockField,
    error,
    el("div", { class: "actions" }, submit),
  );
  use("Meditation");
  const dialog = openDialog("New session", form);
  name.focus();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    error.hidden = true;
    void attempt(submit, async () => {
      try {
        await create({
          name: name.value,
          type: type.value,
          data: parse(data.value || "{}", "Data"),
          ...(clock.value.trim() ? { clock: parse(clock.value, "Clock") } : {}),
        });
        dialog.close();
      } catch (problem) {
        error.textContent = explain(problem);
        error.hidden = false;
      }
    });
  });
}
