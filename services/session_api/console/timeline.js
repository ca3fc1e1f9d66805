// What happened, newest first: what there was before this page came, and what it hears, with how long it was on its way.

import { describe } from "./describe.js";
import { card, el, announce, say } from "./dom.js";
import { ms, shorten, timeOfDay } from "./format.js";

const MOST = 200,
  MOST_LATENCIES = 50,
  EARLIER = 40;
const ANNOUNCE_MS = 1500;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/* No less than the clocks are sure of. */
function latencyText(value, errorMs) {
  return value < Math.max(1, errorMs) ? `< ${Math.ceil(Math.max(1, Math.min(errorMs, 9999)))} ms` : ms(value);
}

export class Timeline {
  constructor(account, sessionId) {
    this.account = account;
    this.sessionId = sessionId;
    this.seen = new Set();
    this.latencies = [];
    this.list = el("ol", { class: "timeline", tabindex: "0", "aria-label": "Events, newest first" });
    this.stats = el("span", { class: "stat" });
    this.empty = el("p", { class: "empty" }, "Nothing has happened yet.");
    this.element = card("Timeline", this.stats, this.empty, this.list);
    this.element.classList.add("timeline-card");
    this.list.hidden = true;
  }

  /* Those of before, up to the version that the page began with. */
  async loadEarlier({ version, epoch }) {
    const since = Math.max(0, version - EARLIER);
    const { items } = await this.account.json(`/sessions/${this.sessionId}/deltas?since=${since}&epoch=${epoch}&limit=${EARLIER}`);
    for (const event of items.reverse()) {
      if (!this.seen.has(`${event.epoch}:${event.version}`)) {
        this.put(event, {}, true);
      }
    }
  }

  /** A versioned event as it came; before: the session before it. */
  take(event, before) {
    const latency = Math.max(0, this.account.now() - Date.parse(event.timestamp));
    this.latencies = [latency, ...this.latencies].slice(0, MOST_LATENCIES);
    this.put(event, { before, latency });
    say(this.stats, `median ${latencyText(median(this.latencies), this.account.errorMs)}`);
    const n = this.latencies.length,
      error = ms(this.account.errorMs);
    this.stats.title = `From the moment that the server wrote it until it was here; of the last ${n}. The clocks agree within ${error}.`;
  }

  /** What has no version: it happened now. */
  note(event) {
    this.put({ timestamp: new Date(this.account.now()).toISOString(), ...event });
  }

  put(event, { before = null, latency = null } = {}, isEarlier = false) {
    const { kind, title, lines } = describe(event, before);
    if (event.version && event.epoch) {
      this.seen.add(`${event.epoch}:${event.version}`);
    }
    const who = event.deviceId ? shorten(event.deviceId, 40) : event.type.startsWith("device_") ? null : "the server";
    const item = el(
      "li",
      { class: `event of-${kind}${isEarlier ? "" : " fresh"}` },
      el(
        "div",
        { class: "event-head" },
        el("span", { class: "event-title" }, title),
        latency === null
          ? null
          : el("span", { class: "latency", title: "after the server wrote it" }, latencyText(latency, this.account.errorMs)),
      ),
      ...lines.map((line) => el("p", { class: "event-line" }, line)),
      el(
        "p",
        { class: "event-foot" },
        el("time", { datetime: event.timestamp }, timeOfDay(event.timestamp)),
        who ? el("span", {}, who) : null,
        event.version && event.epoch ? el("span", {}, `v${event.version}`) : null,
      ),
    );
    if (isEarlier) {
      this.list.append(item);
    } else {
      this.list.prepend(item);
      this.announceSoon(`${title}${lines.length ? `: ${lines[0]}` : ""}`);
    }
    while (this.list.children.length > MOST) {
      this.list.lastChild.remove();
    }
    this.list.hidden = false;
    this.empty.hidden = true;
  }

  /* The last of many, so that a busy session is not talked about without end. */
  announceSoon(text) {
    this.text = text;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      announce(this.text);
    }, ANNOUNCE_MS);
  }
}
