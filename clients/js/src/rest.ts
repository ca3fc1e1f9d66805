/** Requests to session_api. A problem (RFC 9457) becomes a HandoffError. */

import { HandoffError, lostConnection, Problem } from "./errors.js";
import type { Json } from "./json.js";
import type { Ack, Command } from "./protocol.js";

const TIMEOUT_MS = 30000; // the server reads for 15 s and answers within 5 s, or says that it cannot tell

export interface Caller {
  url: string;
  deviceId: string;
  getToken: () => string | Promise<string>;
  fetch: typeof fetch;
}

export interface Request {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Answer {
  status: number;
  body: Json;
  headers: Headers;
}

function tagOf(command: { baseVersion?: number; epoch?: number }): string {
  const epoch = command.epoch ?? 1;
  return epoch === 1 ? `"${command.baseVersion}"` : `"${command.baseVersion}.${epoch}"`;
}

async function problemOf(response: Response): Promise<Problem> {
  const retryAfter = Number(response.headers.get("retry-after"));
  const body = (await response.json().catch(() => null)) as Problem | null;
  const { status, statusText: detail } = response; // without a problem it is of something on the way
  const problem: Problem = body?.code ? body : { code: `http_${status}`, detail, temporary: status >= 500 || status === 408 || status === 429 };
  return retryAfter > 0 ? { ...problem, retryAfterMs: retryAfter * 1000 } : problem;
}

export async function request(caller: Caller, path: string, options: Request = {}): Promise<Answer> {
  const { method = "GET", body, headers = {} } = options;
  const token = await caller.getToken();
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), TIMEOUT_MS);
  try {
    const response = await caller.fetch(caller.url + path, {
      method,
      headers: {
        ...(token ? { Authorization: `Bearer ${token}` } : {}),
        "X-Device-Id": caller.deviceId,
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: giveUp.signal,
    });
    if (!response.ok && response.status !== 304) {
      throw new HandoffError(await problemOf(response));
    }
    const text = await response.text();
    const isJson = text && !headers["Accept"];
    return { status: response.status, body: isJson ? (JSON.parse(text) as Json) : text, headers: response.headers };
  } catch (error) {
    throw error instanceof HandoffError ? error : lostConnection(String(error));
  } finally {
    clearTimeout(timer);
  }
}

function commandRequest(command: Command): [path: string, options: Request] {
  const path = `/sessions/${command.sessionId}`;
  const headers: Record<string, string> = { "Idempotency-Key": command.key };
  switch (command.type) {
    case "patch": {
      const { operations, baseVersion, epoch, merge } = command;
      return [path, { method: "PATCH", headers, body: { operations, baseVersion, epoch, merge } }];
    }
    case "status":
      return [`${path}?status=${command.status}`, { method: "POST", headers }];
    case "switch": {
      const { currentParticipantId, nextParticipantId } = command;
      if (command.baseVersion !== undefined) {
        headers["If-Match"] = tagOf(command);
      }
      return [`${path}/switch`, { method: "POST", headers, body: { currentParticipantId, nextParticipantId } }];
    }
  }
}

/** The command by REST: for who has no WebSocket, or one too large for a frame. */
export async function sendByRest(caller: Caller, command: Command): Promise<Ack> {
  const [path, options] = commandRequest(command);
  const { body, headers } = await request(caller, path, options);
  return ackOf(body as unknown as Ack, headers.get("idempotency-replayed") === "true");
}

export function ackOf(answer: Ack, replayed = answer.replayed ?? false): Ack {
  const { epoch, version, checksum, rebased } = answer;
  return { epoch, version, ...(checksum ? { checksum } : {}), ...(rebased ? { rebased } : {}), ...(replayed ? { replayed } : {}) };
}
