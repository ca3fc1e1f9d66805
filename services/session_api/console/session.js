// One session, live.

import { ClockFace } from "./clock.js";
import { DataCard } from "./data.js";
import { attempt, button, copyText, el, explain, fill, iconButton, openDialog, say, toast } from "./dom.js";
import { ago, dateTime, isFinal, shorten } from "./format.js";
import { HandoffDialog } from "./handoff.js";
import { statusBadge } from "./list.js";
import { Devices, Participants } from "./people.js";
import { Timeline } from "./timeline.js";
import { Travel } from "./travel.js";

const TICK_MS = 5000;
const DEVICES_MS = 400; // several come and go at once

export class SessionView {
  constructor(app, session) {
    this.app = app;
    this.account = app.account;
    this.session = session;
    this.before = session.confirmed;
    const canEdit = () => session.role !== "viewer" && !isFinal(session.status) && session.sync.state !== "closed";
    const isOwner = () => session.role === "owner";
    this.canEdit = canEdit;
    this.data = new DataCard(session, canEdit);
    this.clock = new ClockFace(this.account, session, { canEdit, isOwner, setStatus: (to) => session.setStatus(to) });
    this.timeline = new Timeline(this.account, session.sessionId);
    this.devices = new Devices(this.account, session, isOwner);
    this.people = new Participants(this.account, session, isOwner);
    this.travel = new Travel(this.account, session, canEdit);
    this.element = this.makeElement();
    this.offs = this.listen();
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.draw();
    this.loadRest();
  }

  makeElement() {
    this.title = el("h1", {});
    this.rename = iconButton("Rename", "edit", { onclick: () => this.editName() });
    this.badge = el("span", {});
    this.facts = el("ul", { class: "facts" });
    this.actions = this.makeActions();
    this.notice = el("p", { class: "notice", role: "status", hidden: true });
    return el(
      "div",
      { class: "page" },
      this.account.sessionId ? null : el("nav", { "aria-label": "Where this is" }, el("a", { class: "back", href: "#/" }, "All sessions")),
      el("div", { class: "page-head" }, el("div", { class: "title" }, this.title, this.rename, this.badge), this.actions),
      this.facts,
      this.notice,
      el(
        "div",
        { class: "columns" },
        el("div", { class: "column wide" }, this.clock.element, this.data.element, this.travel.element),
        el("div", { class: "column" }, this.timeline.element, this.devices.element, this.people.element),
      ),
    );
  }

  makeActions() {
    const change = (label, name, to) =>
      button(label, { icon: name, onclick: (e) => attempt(e.currentTarget, () => this.session.setStatus(to)) });
    this.pause = change("Pause", "pause", "paused");
    this.resume = change("Continue", "play", "active");
    this.take = change("Take over here", "play", "active");
    this.complete = button("Complete", { icon: "check", onclick: () => this.askComplete() });
    this.handOff = button("Hand off", { icon: "send", kind: "primary", onclick: () => new HandoffDialog(this.account, this.session) });
    return el("div", { class: "actions" }, this.pause, this.resume, this.take, this.complete, this.handOff);
  }

  listen() {
    const { session } = this;
    return [
      session.on("change", ({ event }) => {
        if (event) {
          this.timeline.take(event, this.before);
          this.noteEvent(event);
        }
        this.before = session.confirmed;
        this.drawSoon();
      }),
      session.on("state", () => {
        this.app.drawBar();
        this.drawSoon();
      }),
      session.on("devices", (change) => this.noteDevices(change)),
      session.on("broadcast", ({ message, deviceId }) => this.timeline.note({ type: "broadcast", message, deviceId })),
      session.on("warning", (warning) => this.timeline.note({ type: "clock_warning", ...warning, deviceId: null })),
      session.on("conflict", ({ code, resolved }) => {
        if (resolved && code === "version_conflict") {
          toast("Another device changed the same at the same time; your change was made again on top of it.", "fine");
        }
      }),
      session.on("lost", ({ code, reason }) => this.lose(code, reason)),
    ];
  }

  close() {
    this.offs.forEach((off) => off());
    clearInterval(this.timer);
    this.clock.close();
    this.session.close();
  }

  lose(code, reason) {
    const text = {
      not_found: "This session was deleted, or is not shared with you any more.",
      device_removed: "The session's owner keeps this device out.",
    }[code];
    this.notice.textContent = text ?? shorten(reason, 300);
    this.notice.hidden = false;
    this.drawSoon();
  }

  /* What is beside the session itself; each by itself may fail. */
  loadRest() {
    const show = (error) => toast(explain(error));
    this.timeline.loadEarlier(this.session.confirmed).catch(show);
    this.travel.loadLabels().catch(show);
    this.devices.load().catch(show);
    this.people.load().catch(show);
  }

  noteEvent({ type }) {
    if (type === "participant_changed") {
      this.people.load().catch(() => undefined);
    } else if (type === "status_changed" || type === "device_changed") {
      this.loadDevicesSoon();
    }
  }

  noteDevices({ joined, left, name, platform }) {
    for (const deviceId of joined) {
      this.timeline.note({ type: "device_joined", deviceId, name, platform });
    }
    for (const deviceId of left) {
      this.timeline.note({ type: "device_left", deviceId, name, platform });
    }
    this.loadDevicesSoon();
  }

  loadDevicesSoon() {
    this.devicesTimer ??= setTimeout(() => {
      this.devicesTimer = undefined;
      this.devices.load().catch(() => undefined);
    }, DEVICES_MS);
  }

  tick() {
    this.drawFacts();
    if (document.visibilityState === "visible") {
      this.loadDevicesSoon();
    }
  }

  /* Once a frame, however much has come. */
  drawSoon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  draw() {
    const { session } = this;
    const { status } = session;
    document.title = `${shorten(session.name, 60)} – Handoff`;
    say(this.title, session.name);
    if (this.status !== status) {
      this.status = status;
      fill(this.badge, statusBadge(status));
    }
    this.drawActions(status);
    this.drawFacts();
    this.data.update();
    this.clock.update();
    this.travel.update();
  }

  drawActions(status) {
    const canEdit = this.canEdit();
    this.rename.hidden = !canEdit;
    this.pause.hidden = !canEdit || status !== "active";
    this.resume.hidden = !canEdit || status === "active";
    say(this.resume.lastChild, status === "pending" ? "Start" : "Continue");
    this.take.hidden = !canEdit || status !== "active" || this.session.isActiveHere;
    this.complete.hidden = !canEdit || status === "pending";
    this.handOff.hidden = this.session.role !== "owner" || isFinal(status) || Boolean(this.account.sessionId);
    if (this.session.role === "owner") {
      this.account.subject = this.session.confirmed.userId; // a name in a token stands for an id
    }
  }

  drawFacts() {
    const { confirmed, role, type } = this.session;
    const { version, epoch, activeDeviceId, updatedAt, expiresAt, status, id } = confirmed;
    const now = this.account.now();
    const facts = [
      type,
      `version ${version}${epoch > 1 ? ` of epoch ${epoch}` : ""}`,
      `you are ${role}`,
      this.data.size(),
      activeDeviceId ? `active on ${activeDeviceId === this.account.deviceId ? "this device" : shorten(activeDeviceId, 40)}` : null,
      `changed ${ago(updatedAt, now)}`,
    ];
    const key = facts.join("\n");
    if (this.factsKey !== key) {
      this.factsKey = key;
      fill(
        this.facts,
        ...facts.filter(Boolean).map((fact) => el("li", {}, fact)),
        el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              class: "link mono",
              title: `${expiresAt ? `${status === "active" ? "Idle" : "Expires"} at ${dateTime(expiresAt)}. ` : ""}Copy the id`,
              "aria-label": `Copy the id ${id}`,
              onclick: () => copyText(id, "Id"),
            },
            id.slice(0, 13),
            "…",
          ),
        ),
      );
    }
  }

  editName() {
    const input = el("input", {
      class: "input title-input",
      value: this.session.name,
      maxlength: 255,
      "aria-label": "Name",
      required: true,
    });
    const submit = button("Save", { kind: "primary", type: "submit" });
    const form = el("form", { class: "inline-form" }, input, submit);
    const dialog = openDialog("Rename", form);
    input.select();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void attempt(submit, async () => {
        const saved = this.session.patch([{ op: "replace", path: "/name", value: input.value }]);
        dialog.close();
        await saved;
      });
    });
  }

  askComplete() {
    const yes = button("Complete it", {
      kind: "primary",
      onclick: (e) =>
        attempt(e.currentTarget, async () => {
          await this.session.setStatus("completed");
          dialog.close();
        }),
    });
    const dialog = openDialog(
      "Complete this session?",
      el("p", {}, "It can be read afterwards, and not changed any more."),
      el("div", { class: "actions" }, yes, button("Not yet", { onclick: () => dialog.close() })),
    );
  }
}
