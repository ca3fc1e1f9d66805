// Numbers, times and values as texts, each of a bounded length.

export function shorten(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** A JSON value on one line. Of a large one no more is looked at than is shown. */
export function preview(value, most = 60) {
  if (typeof value === "string") {
    return shorten(JSON.stringify(value.slice(0, most + 1)), most);
  }
  if (value === null || typeof value !== "object") {
    return shorten(String(value), most);
  }
  const n = Array.isArray(value) ? value.length : Object.keys(value).length;
  if (n === 0) {
    return Array.isArray(value) ? "[]" : "{}";
  }
  return Array.isArray(value) ? `[ ${n} ${n === 1 ? "element" : "elements"} ]` : `{ ${n} ${n === 1 ? "member" : "members"} }`;
}

function unescaped(token) {
  return token.replace(/~1/g, "/").replace(/~0/g, "~");
}

/** "/data/a/0" as a › 0. */
export function place(pointer) {
  if (pointer === "/name") {
    return "name of the session";
  }
  const path = pointer.split("/").slice(2).map(unescaped);
  return path.length ? shorten(path.map((token) => shorten(token || '""', 40)).join(" › "), 90) : "data";
}

export function ms(value) {
  return value < 10 ? `${Math.max(0, value).toFixed(1)} ms` : value < 10000 ? `${Math.round(value)} ms` : `${Math.round(value / 1000)} s`;
}

export function bytes(n) {
  return n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(n < 10240 ? 1 : 0)} KiB` : `${(n / 1048576).toFixed(1)} MiB`;
}

export function ago(moment, now) {
  const s = Math.max(0, Math.round((now - Date.parse(moment)) / 1000));
  if (s < 5) {
    return "just now";
  }
  const [n, unit] =
    s < 60 ? [s, "s"] : s < 3600 ? [Math.floor(s / 60), "min"] : s < 86400 ? [Math.floor(s / 3600), "h"] : [Math.floor(s / 86400), "d"];
  return `${n} ${unit} ago`;
}

const pad = (n, width = 2) => String(n).padStart(width, "0");

/** Of the day, in this device's time zone, with milliseconds. */
export function timeOfDay(moment) {
  const d = new Date(moment);
  return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}.${pad(d.getMilliseconds(), 3)}`;
}

export function dateTime(moment) {
  return new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** As a clock shows it: 5:03, 1:05:03; tenths below ten seconds. */
export function clockFace(value) {
  const left = Math.max(0, value);
  if (left < 10000) {
    return `0:0${(Math.floor(left / 100) / 10).toFixed(1)}`;
  }
  const s = Math.floor(left / 1000);
  const h = Math.floor(s / 3600);
  return h ? `${h}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}` : `${Math.floor(s / 60)}:${pad(s % 60)}`;
}

export const STATUS_NAMES = {
  pending: "Pending",
  active: "Active",
  paused: "Paused",
  completed: "Completed",
  cancelled: "Cancelled",
  expired: "Expired",
};

export function isFinal(status) {
  return status === "completed" || status === "cancelled" || status === "expired";
}

/** What was typed: JSON, or else a string as it stands. */
export function typed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export function kindOf(value) {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}
