// The face of a session's clock. It is reckoned from what the server said and the server's time now: nothing is counted here.

import { attempt, button, card, el, fill, say } from "./dom.js";
import { clockFace, shorten } from "./format.js";

const TICK_MS = 100;
const MOST_SIDES = 24;
const SOON_MS = 10000;

const MODES = {
  per_participant: "Each has a time of their own",
  per_cycle: "Each turn has its time",
  per_group: "Each group has its time",
  global: "One time for all",
  count_up: "Counts up",
};

function isRunning(clock, p, active) {
  if (!clock.cycleStartedAt || !active) {
    return false;
  }
  return p === active || clock.mode === "global" || (clock.mode === "per_group" && p.groupId === active.groupId);
}

/** What the face shows of a participant, ms. */
function shownOf(clock, p, now) {
  const active = clock.participants.find((one) => one.isActive);
  const ran = isRunning(clock, p, active) ? Math.max(0, now - Date.parse(clock.cycleStartedAt)) : 0;
  const isUp = clock.mode === "count_up";
  return isUp ? p.timeUsedMs + ran : Math.max(0, (p.timeRemainingMs ?? 0) - ran);
}

export class ClockFace {
  /** get() → the session as it is shown, or null. */
  constructor(account, session, { canEdit, isOwner, setStatus }) {
    this.account = account;
    this.session = session;
    this.may = { canEdit, isOwner, setStatus };
    this.sides = new Map();
    this.faces = el("div", { class: "clock-sides" });
    this.mode = el("span", { class: "stat" });
    this.turn = button("Switch turn", { icon: "swap", kind: "primary", onclick: (e) => this.switchTurn(e.currentTarget) });
    this.stop = button("Pause", { onclick: (e) => this.toggle(e.currentTarget) });
    this.element = card("Clock", this.mode, this.faces, el("div", { class: "actions" }, this.turn, this.stop));
    this.element.classList.add("clock-card");
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  close() {
    clearInterval(this.timer);
  }

  switchTurn(control, next) {
    return attempt(control, () => this.session.switchTurn(next ? { nextParticipantId: next } : {}));
  }

  toggle(control) {
    return attempt(control, () => this.may.setStatus(this.session.status === "active" ? "paused" : "active"));
  }

  give(control, id, adjustMs) {
    const path = `/sessions/${this.session.sessionId}/clock/${encodeURIComponent(id)}`;
    return attempt(control, () => this.account.json(path, { method: "POST", body: { adjustMs, reason: "given in the console" } }));
  }

  makeSide(p) {
    const id = p.participantId;
    const time = el("span", { class: "clock-time" });
    const note = el("span", { class: "clock-note" });
    const take = button("Give the turn", {
      kind: "small",
      "aria-label": `Give the turn to ${shorten(id, 60)}`,
      onclick: (e) => this.switchTurn(e.currentTarget, id),
    });
    const more = button("+30 s", {
      kind: "small quiet",
      "aria-label": `+30 s for ${shorten(id, 60)}`,
      onclick: (e) => this.give(e.currentTarget, id, 30000),
    });
    const element = el(
      "div",
      { class: "clock-side" },
      el("span", { class: "clock-name" }, shorten(id, 60)),
      time,
      note,
      el("div", { class: "clock-tools" }, take, more),
    );
    return { element, time, note, take, more };
  }

  /** Takes what there is now. */
  update() {
    const clock = this.session.clock;
    this.element.hidden = !clock;
    if (!clock) {
      return;
    }
    const { participants } = clock;
    const shown = participants.slice(0, MOST_SIDES);
    const active = participants.find((p) => p.isActive);
    if (active && !shown.includes(active)) {
      shown[MOST_SIDES - 1] = active;
    }
    const ids = shown.map((p) => p.participantId);
    if (ids.join("\n") !== [...this.sides.keys()].join("\n")) {
      this.sides = new Map(shown.map((p) => [p.participantId, this.makeSide(p)]));
      fill(this.faces, ...[...this.sides.values()].map((side) => side.element));
      this.faces.classList.toggle("many", shown.length > 4);
    }
    const rest = participants.length - shown.length;
    say(this.mode, `${MODES[clock.mode] ?? ""}${rest > 0 ? `, ${rest} more` : ""}`);
    this.drawTools(clock);
    this.tick();
  }

  drawTools(clock) {
    const { status } = this.session;
    const canEdit = this.may.canEdit();
    this.turn.disabled = !canEdit || !clock.cycleStartedAt;
    this.stop.disabled = !canEdit;
    say(this.stop.lastChild, status === "active" ? "Pause" : status === "pending" ? "Start" : "Continue");
    for (const p of clock.participants) {
      const side = this.sides.get(p.participantId);
      if (side) {
        side.take.hidden = !canEdit || !clock.cycleStartedAt || p.isActive || clock.participants.length < 3;
        side.more.hidden = !canEdit || !this.may.isOwner() || (clock.mode === "count_up" && clock.maxTimeMs === null);
      }
    }
  }

  tick() {
    const clock = this.session.clock;
    if (!clock || this.element.hidden) {
      return;
    }
    const now = this.account.now();
    const active = clock.participants.find((p) => p.isActive);
    for (const p of clock.participants) {
      const side = this.sides.get(p.participantId);
      if (!side) {
        continue;
      }
      const left = shownOf(clock, p, now);
      const runs = isRunning(clock, p, active);
      say(side.time, clockFace(left));
      say(
        side.note,
        p.hasExpired
          ? "Time is up"
          : p.isActive
            ? runs
              ? "Running"
              : "Their turn, stopped"
            : `${p.cycleCount} ${p.cycleCount === 1 ? "turn" : "turns"}`,
      );
      side.element.classList.toggle("active", p.isActive);
      side.element.classList.toggle("running", runs);
      side.element.classList.toggle("soon", runs && clock.mode !== "count_up" && left < SOON_MS);
    }
  }
}
