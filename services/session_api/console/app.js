// The page: who is signed in, and which view the address asks for.

import { Handoff, MemoryStore } from "./client/index.js";
import { Account, forgetToken, isToken, keepToken, tokenOf } from "./account.js";
import { attempt, button, el, explain, field, fill, iconButton, say, toast } from "./dom.js";
import { redeem } from "./handoff.js";
import { ListView } from "./list.js";
import { SessionView } from "./session.js";
import { shorten } from "./format.js";

const CODE = "handoff.console.code";
const MEASURE_MS = 60000,
  RENEW_LEFT_MS = 12 * 3600 * 1000;

function takeCode() {
  const code = sessionStorage.getItem(CODE);
  sessionStorage.removeItem(CODE);
  return code;
}

/* Where WebSockets are: of a page that came by https they do, too. */
async function socketUrl() {
  const { webSocketUrl } = await (await fetch("/console/config.json")).json();
  const url = webSocketUrl ?? location.origin;
  return location.protocol === "https:" ? url.replace(/^ws:/, "wss:") : url;
}

class App {
  account = null;
  handoff = null;
  view = null;

  async start() {
    document.getElementById("skip").addEventListener("click", () => document.getElementById("main").focus());
    addEventListener("hashchange", () => void this.route());
    setInterval(() => void this.account?.measure().catch(() => undefined), MEASURE_MS);
    await this.route();
  }

  // ---- who is signed in ----

  signIn(token) {
    this.signOut();
    keepToken(token);
    this.account = new Account(token);
    this.account.onRefused = (error) => this.refused(error);
    this.account.measure().catch(() => undefined);
  }

  signOut() {
    this.closeView();
    this.unguard?.();
    this.handoff?.close();
    this.handoff = this.account = null;
    forgetToken();
    this.drawBar();
  }

  refused(error) {
    if (this.account) {
      this.signOut();
      this.showSignIn(
        error.code === "token_expired" ? "The token has expired. Sign in with a new one." : "The server does not take this token.",
      );
    }
  }

  async connect() {
    if (!this.handoff) {
      const { account } = this;
      const url = await socketUrl();
      this.handoff = new Handoff(location.origin, {
        getToken: () => account.token,
        device: account.device,
        socketUrl: url,
        store: new MemoryStore(),
      });
      this.unguard = this.handoff.guardLeaving();
      this.handoff.on("state", ({ state, problem }) => {
        this.drawBar();
        if (state === "stopped" && problem && this.account === account) {
          this.refused(problem);
        }
      });
    }
    return this.handoff;
  }

  /* A token of one session can be had anew while it is good. */
  async renew() {
    const { account } = this;
    if (account?.sessionId && account.expiresAt - Date.now() < RENEW_LEFT_MS) {
      const { token, expiresAt } = await account.json(`/sessions/${account.sessionId}/token`, { method: "POST" });
      account.token = token;
      account.expiresAt = Date.parse(expiresAt);
      keepToken(token);
    }
  }

  // ---- views ----

  async route() {
    const turn = (this.turn = {});
    const code = takeCode();
    if (code) {
      await this.redeem(code);
      return;
    }
    const token = tokenOf();
    if (!token || !isToken(token)) {
      this.signOut();
      this.showSignIn(token ? "That is no token." : null);
      return;
    }
    if (this.account?.token !== token) {
      this.signIn(token);
    }
    const asked = /^#\/sessions\/([0-9a-f-]{36})$/.exec(location.hash)?.[1] ?? null;
    const id = this.account.sessionId ?? asked;
    if (id) {
      await this.showSession(id, turn);
    } else {
      document.title = "Sessions – Handoff";
      this.show(new ListView(this));
    }
  }

  closeView() {
    this.view?.close?.();
    this.view = null;
  }

  show(view) {
    this.closeView();
    this.view = view;
    const main = document.getElementById("main");
    fill(main, view.element);
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
    this.drawBar();
  }

  async showSession(id, turn) {
    this.show({ element: el("div", { class: "page" }, el("p", { class: "empty", role: "status" }, "Opening the session …")) });
    try {
      this.renew().catch(() => undefined);
      const session = await (await this.connect()).open(id);
      if (turn === this.turn) {
        this.show(new SessionView(this, session));
      } else {
        session.close();
      }
    } catch (error) {
      if (turn === this.turn && this.account) {
        this.showProblem(error.code === "not_found" ? "There is no such session, or it is not shared with you." : explain(error));
      }
    }
  }

  showProblem(text) {
    document.title = "Handoff console";
    this.show({
      element: el(
        "div",
        { class: "page narrow" },
        el(
          "div",
          { class: "card center-card" },
          el("h1", {}, "Not here"),
          el("p", {}, text),
          el("a", { class: "button", href: "#/" }, "All sessions"),
        ),
      ),
    });
  }

  async redeem(code) {
    const token = tokenOf();
    try {
      const answer = await redeem(code, token && isToken(token) ? (this.account ?? new Account(token)) : null);
      if (answer.token) {
        this.signIn(answer.token);
      }
      toast(`This device has the session now: ${shorten(answer.name ?? "", 60)}`, "fine");
      history.replaceState(null, "", `#/sessions/${answer.id}`);
    } catch (error) {
      toast(explain(error));
    }
    await this.route();
  }

  showSignIn(problem) {
    document.title = "Sign in – Handoff";
    const input = el("input", {
      class: "input mono",
      type: "password",
      name: "token",
      autocomplete: "off",
      spellcheck: "false",
      required: true,
    });
    const submit = button("Sign in", { kind: "primary wide", type: "submit" });
    const notice = el("p", { class: "notice", role: "alert", hidden: !problem }, problem ?? "");
    const form = el(
      "form",
      { class: "stack" },
      notice,
      field("Token", input, "A JSON Web Token of yours. It stays in this tab and is forgotten with it."),
      submit,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = input.value.trim().replace(/^Bearer\s+/i, "");
      if (!isToken(token)) {
        notice.hidden = false;
        say(notice, "That is no token: it has three parts with dots between them.");
        return;
      }
      void attempt(submit, () => {
        keepToken(token);
        return this.route();
      });
    });
    const local = el(
      "details",
      { class: "more-fields" },
      el("summary", {}, "On this machine"),
      el("p", { class: "hint" }, "With make run up, this prints a token:"),
      el("pre", { class: "command" }, "make -s token USER=alice DEVICE=phone"),
    );
    this.show({
      element: el(
        "div",
        { class: "sign-in" },
        el(
          "div",
          { class: "card" },
          el("h1", {}, "Handoff console"),
          el("p", { class: "lead" }, "See your sessions live, on all of their devices, and hand them from one to the next."),
          form,
          local,
        ),
      ),
    });
    input.focus();
  }

  // ---- the bar ----

  drawBar() {
    const bar = document.getElementById("bar");
    if (!bar.firstChild) {
      this.sync = el("span", { class: "sync", role: "status" });
      this.who = el("span", { class: "who" });
      this.leave = iconButton("Sign out", "leave", {
        onclick: () => {
          this.signOut();
          history.replaceState(null, "", location.pathname);
          this.showSignIn(null);
        },
      });
      fill(
        bar,
        el(
          "a",
          { class: "brand", href: "#/" },
          el("img", { src: "/console/icon.svg", alt: "", width: 24, height: 24 }),
          el("span", {}, "Handoff"),
        ),
        this.sync,
        this.who,
        this.leave,
      );
    }
    this.leave.hidden = this.who.hidden = !this.account;
    if (this.account && this.who.title !== this.account.deviceId) {
      this.who.title = this.account.deviceId;
      fill(this.who, el("span", { class: "visually-hidden" }, "This device: "), shorten(this.account.deviceId, 40));
    }
    this.drawSync();
  }

  drawSync() {
    const session = this.view?.session;
    this.sync.hidden = !session;
    if (!session) {
      return;
    }
    const { state, unsent } = session.sync;
    const isStream = this.handoff?.connection.transport === "stream";
    const text = {
      synced: isStream ? "Live, by event stream" : "Live",
      connecting: "Connecting …",
      offline: "Offline, trying again",
      closed: "Not told any more",
    }[state];
    say(this.sync, unsent > 0 && state !== "synced" ? `${text} · ${unsent} unsent` : text);
    this.sync.className = `sync ${state}`;
  }
}

void new App().start();
