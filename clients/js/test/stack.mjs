// The stack that the tests talk to (tests/e2e/test_client_js.py starts it), and what stands between: a proxy that can be cut.
import { createHmac, randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { Handoff, MemoryStore } from "../dist/esm/index.js";

const { HANDOFF_API_URL: api, HANDOFF_SOCKET_URL: sockets, HANDOFF_SECRET: secret } = process.env;
export const apiUrl = api;
export const socketUrl = sockets;

// Node has no WebSocket of its own before 22; this is Debian's node-ws.
export const { WebSocket } = createRequire(import.meta.url)("/usr/share/nodejs/ws/index.js");

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export function token(user, { seconds = 3600, ...claims } = {}) {
  const body = `${base64({ alg: "HS256", typ: "JWT" })}.${base64({ sub: user, exp: Math.floor(Date.now() / 1000) + seconds, ...claims })}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

/** A user's devices; all are closed at the test's end. */
export function person(t) {
  const user = randomUUID();
  return {
    user,
    device(id, options = {}) {
      const handoff = new Handoff(apiUrl, { getToken: () => token(user), device: { id }, socketUrl, WebSocket, store: new MemoryStore(), ...options });
      t.after(() => handoff.close());
      return handoff;
    },
  };
}

/** The event, as soon as it fits. */
export function heard(emitter, name, fits = () => true) {
  return new Promise((resolve) => {
    const off = emitter.on(name, (event) => {
      if (fits(event)) {
        off();
        resolve(event);
      }
    });
  });
}

/** Resolves when the session is so. */
export function until(session, condition) {
  return new Promise((resolve) => {
    const offs = [];
    const look = () => {
      if (condition(session)) {
        offs.forEach((off) => off());
        resolve();
      }
    };
    offs.push(session.on("change", look), session.on("state", look));
    look();
  });
}

/** TCP to the url's port: `cut` ends all connections and refuses new ones until `mend`. */
export async function proxy(t, url) {
  const { hostname, port } = new URL(url);
  const open = new Set();
  let isCut = false;
  const server = createServer((here) => {
    if (isCut) {
      here.destroy();
      return;
    }
    const there = connect(Number(port), hostname);
    for (const [from, to] of [[here, there], [there, here]]) {
      open.add(from);
      from.on("data", (bytes) => to.write(bytes));
      from.on("error", () => undefined);
      from.on("close", () => {
        open.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    isCut = true;
    open.forEach((socket) => socket.destroy());
  };
  t.after(() => {
    server.close();
    cut();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, cut, mend: () => void (isCut = false) };
}
