/** What `new Handoff(url, options)` takes. */

import type { CommandStore } from "./store.js";

/** As the browser's; Node's own (from 22 on), or that of the package `ws`. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocket;

export interface HandoffOptions {
  /** Called for each connection and request, and again before a token expires: a token that is still good, from a cache if you like. */
  getToken: () => string | Promise<string>;
  /** This installation of the app: `id` has 1 to 128 of `A-Z a-z 0-9 . _ : -`, and stays the same. Left out: kept in localStorage, else made anew. */
  device?: { id?: string; name?: string; platform?: string };
  /** Where WebSocket and event streams are; left out: at the url, or at port 8081 when the url says 8080, as the services have it by themselves. */
  socketUrl?: string;
  /** Where commands that have no answer yet are kept; left out: IndexedDB in a browser, else memory. */
  store?: CommandStore;
  /** Left out: the platform's. null: event streams and REST only. */
  WebSocket?: WebSocketClass | null;
  fetch?: typeof fetch;
}

const DEVICE_KEY = "handoff.device";

/** Random bytes in hex: for keys and device ids. */
export function randomId(): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (x) => x.toString(16).padStart(2, "0")).join("");
}

export function ownDeviceId(): string {
  try {
    const kept = globalThis.localStorage.getItem(DEVICE_KEY) ?? randomId();
    globalThis.localStorage.setItem(DEVICE_KEY, kept);
    return kept;
  } catch {
    return randomId(); // no storage, or none that may be used
  }
}

/** Without a slash at its end. */
export function socketUrlOf(url: string, given?: string): string {
  if (given) {
    return given.replace(/^ws/, "http").replace(/\/+$/, "");
  }
  const parsed = new URL(url);
  if (parsed.port === "8080") {
    parsed.port = "8081";
  }
  return parsed.href.replace(/\/+$/, "");
}
