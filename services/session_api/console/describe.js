// Events as sentences.

import { place, preview, shorten, STATUS_NAMES, clockFace } from "./format.js";

const MOST_OPERATIONS = 3;

function has(object, name) {
  return Object.prototype.hasOwnProperty.call(object, name);
}

/* What was at the pointer; undefined: nothing, or it is not known. */
function valueAt(session, pointer) {
  let value = session ?? undefined;
  for (const token of pointer.split("/").slice(1)) {
    const name = token.replace(/~1/g, "/").replace(/~0/g, "~");
    if (value === null || typeof value !== "object" || !has(value, name)) {
      return undefined;
    }
    value = value[name];
  }
  return value;
}

function operationText(operation, before) {
  const { op, path, from, value } = operation;
  switch (op) {
    case "add":
    case "replace": {
      const old = valueAt(before, path);
      const was = old === undefined ? "" : `${preview(old, 40)} → `;
      return `${place(path)}: ${was}${preview(value, 60)}`;
    }
    case "remove":
      return `${place(path)} removed`;
    default:
      return `${place(from ?? "")} ${op === "copy" ? "copied" : "moved"} to ${place(path)}`;
  }
}

function delta(event, before) {
  const operations = event.operations ?? [];
  const lines = operations.slice(0, MOST_OPERATIONS).map((o) => operationText(o, before));
  const rest = operations.length - lines.length;
  const isRestore = operations.length === 1 && operations[0].path === "/data";
  return { kind: "data", title: isRestore ? "Data replaced" : "Data changed", lines: rest > 0 ? [...lines, `and ${rest} more`] : lines };
}

const REASONS = { takeover: "taken over", idle: "nobody used it", clock: "time is up" };

function status(event) {
  const { from, to, reason } = event;
  const lines = [`${STATUS_NAMES[from] ?? from} → ${STATUS_NAMES[to] ?? to}${REASONS[reason] ? `, ${REASONS[reason]}` : ""}`];
  return { kind: "status", title: reason === "takeover" ? "Taken over" : "Status changed", lines };
}

const others = {
  session_created: () => ({ kind: "status", title: "Created", lines: [] }),
  session_deleted: () => ({ kind: "status", title: "Deleted", lines: [] }),
  participant_changed: (e) => ({
    kind: "people",
    title: e.role ? "Participant" : "Participant removed",
    lines: [`${shorten(e.participant ?? "", 40)}${e.role ? ` is ${e.role}` : ""}`],
  }),
  device_changed: (e) => ({
    kind: "device",
    title: e.removed ? "Device kept out" : "Device let in again",
    lines: [shorten(e.device ?? "", 60)],
  }),
  device_joined: (e) => ({ kind: "device", title: "Device joined", lines: [shorten(e.name || e.deviceId || "", 80)] }),
  device_left: (e) => ({ kind: "device", title: "Device left", lines: [shorten(e.name || e.deviceId || "", 80)] }),
  broadcast: (e) => ({ kind: "device", title: "Broadcast", lines: [preview(e.message, 100)] }),
  clock_set: () => ({ kind: "clock", title: "Clock set", lines: [] }),
  clock_switched: (e) => ({
    kind: "clock",
    title: "Turn switched",
    lines: [`${shorten(e.from ?? "", 40)} → ${shorten(e.to ?? "", 40)} after ${clockFace(e.elapsedMs ?? 0)}`],
  }),
  clock_adjusted: (e) => ({
    kind: "clock",
    title: "Time adjusted",
    lines: [
      `${shorten(e.participantId ?? "", 40)} ${e.adjustMs > 0 ? "+" : "−"}${clockFace(Math.abs(e.adjustMs ?? 0))}: ${shorten(e.reason ?? "", 60)}`,
    ],
  }),
  clock_expired: (e) => ({ kind: "clock", title: "Time is up", lines: [shorten(e.participantId ?? e.groupId ?? "", 40)] }),
  clock_warning: (e) => ({
    kind: "clock",
    title: "Time is running out",
    lines: [`${shorten(e.participantId ?? "", 40)}: ${clockFace(e.remainingMs ?? 0)} left`],
  }),
};

/** {kind, title, lines}. before: the session before it, where it is known. */
export function describe(event, before = null) {
  if (event.type === "state_delta") {
    return delta(event, before);
  }
  if (event.type === "status_changed") {
    return status(event);
  }
  return others[event.type]?.(event) ?? { kind: "other", title: shorten(event.type, 60), lines: [] };
}
