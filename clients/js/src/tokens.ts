/** Where tokens come from: the app's `getToken`, or a session token (docs/PROTOCOL.md), which is renewed while it is in use. */

import { HandoffError } from "./errors.js";
import { Caller, request } from "./rest.js";
import type { ResponseToken } from "./schemas.js";

const RETRY_MS = 60000; // between one try to renew a token and the next

/** This device's, for one session alone. Who has it can do what the code offered: keep it as you would a password. */
export interface SessionToken {
  sessionId: string;
  deviceId: string;
  token: string;
  expiresAt: string;
}

/** Many that need a token at the same moment ask for one. Fails with HandoffError: `no_token`, or what getToken says. */
export function oneAtATime(getToken: () => string | Promise<string>): () => Promise<string> {
  const ask = async () => {
    try {
      return await getToken();
    } catch (error) {
      throw error instanceof HandoffError ? error : new HandoffError({ code: "no_token", detail: String(error), temporary: true });
    }
  };
  let asked: Promise<string> | null = null;
  return () => (asked ??= ask().finally(() => (asked = null)));
}

/* Its own times are of the server's clock, which the device's may differ from. */
function lifeOf(token: string): number {
  const claims = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
  const { iat, exp } = JSON.parse(atob(claims)) as { iat: number; exp: number };
  return (exp - iat) * 1000;
}

/** `getToken` for who has a session token: a new one when half of its life is over, which `keep` is told. isFresh: it was made just now. */
export function renewed(caller: Omit<Caller, "getToken">, first: SessionToken, isFresh: boolean, keep: (token: SessionToken) => void) {
  let current = first;
  let renewAt = isFresh ? Date.now() + lifeOf(first.token) / 2 : 0;
  return async () => {
    if (Date.now() >= renewAt) {
      renewAt = Date.now() + RETRY_MS;
      try {
        const { body } = await request({ ...caller, getToken: () => current.token }, `/sessions/${first.sessionId}/token`, { method: "POST" });
        current = { ...current, ...(body as unknown as ResponseToken) };
        renewAt = Date.now() + lifeOf(current.token) / 2;
        keep(current);
      } catch {
        // what there is may still be good; if not, the server says so
      }
    }
    return current.token;
  };
}
