// Who is signed in, and requests in their name. The token stays in this tab: sessionStorage forgets it when the tab is closed.

import { HandoffError } from "./client/index.js";

const TOKEN = "handoff.console.token",
  DEVICE = "handoff.console.device";
const SAMPLES = 5;

export function tokenOf() {
  return sessionStorage.getItem(TOKEN);
}

export function keepToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

export function forgetToken() {
  sessionStorage.removeItem(TOKEN);
}

/* What the token says of itself, for showing only: the server alone judges it. */
function claimsOf(token) {
  try {
    const body = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(body), (c) => c.charCodeAt(0))));
    return claims && typeof claims === "object" ? claims : {};
  } catch {
    return {};
  }
}

export function isToken(text) {
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text) && text.length <= 8192;
}

function newDeviceId() {
  return `console-${Array.from(crypto.getRandomValues(new Uint8Array(4)), (b) => b.toString(16).padStart(2, "0")).join("")}`;
}

/* Each tab is a device of its own, unless the token is one device's. */
function ownDeviceId() {
  const kept = sessionStorage.getItem(DEVICE) ?? newDeviceId();
  sessionStorage.setItem(DEVICE, kept);
  return kept;
}

function browserName() {
  const agent = navigator.userAgent;
  return /Firefox\//.test(agent)
    ? "Firefox"
    : /Edg\//.test(agent)
      ? "Edge"
      : /Chrom/.test(agent)
        ? "Chrome"
        : /Safari\//.test(agent)
          ? "Safari"
          : "a browser";
}

export class Account {
  constructor(token) {
    const { sub, device_id: device, session_id: session, exp } = claimsOf(token);
    this.token = token;
    this.subject = typeof sub === "string" ? sub : "";
    this.sessionId = typeof session === "string" ? session : null;
    this.expiresAt = typeof exp === "number" ? exp * 1000 : null;
    this.deviceId = typeof device === "string" && device ? device : ownDeviceId();
    this.offsetMs = 0;
    this.errorMs = Infinity;
    this.onRefused = () => undefined;
  }

  get device() {
    return { id: this.deviceId, name: `Console in ${browserName()}`, platform: "web" };
  }

  /** The answer as it is; a refusal is thrown as HandoffError. */
  async fetch(path, { method = "GET", body, headers = {}, signal } = {}) {
    let response;
    try {
      response = await fetch(path, {
        method,
        signal,
        headers: {
          Authorization: `Bearer ${this.token}`,
          "X-Device-Id": this.deviceId,
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      throw signal?.aborted
        ? error
        : new HandoffError({ code: "connection_lost", detail: "The server cannot be reached.", temporary: true });
    }
    if (!response.ok) {
      throw await this.refusal(response);
    }
    return response;
  }

  async refusal(response) {
    const problem = await response.json().catch(() => null);
    const error = new HandoffError(
      problem?.code ? problem : { code: `http_${response.status}`, detail: `The server answered ${response.status}.` },
    );
    error.status = response.status;
    error.retryAfterMs = Number(response.headers.get("retry-after")) * 1000;
    if (response.status === 401) {
      this.onRefused(error);
    }
    return error;
  }

  async json(path, options) {
    const response = await this.fetch(path, options);
    return response.status === 204 || response.status === 202 ? null : response.json();
  }

  /** How far this device's clock is from the server's: by the quickest of some answers. */
  async measure() {
    let best = Infinity;
    for (let n = 0; n < SAMPLES; n++) {
      const began = performance.now();
      const response = await fetch("/time");
      const { serverTime } = await response.json();
      const took = performance.now() - began;
      if (took < best) {
        best = took;
        this.offsetMs = Date.parse(serverTime) + took / 2 - (performance.timeOrigin + performance.now());
        this.errorMs = took / 2;
      }
    }
  }

  /** The server's time now, ms since 1970. */
  now() {
    return performance.timeOrigin + performance.now() + this.offsetMs;
  }
}
