/** What was refused, as the server says it (docs/PROTOCOL.md): the same codes over REST and WebSocket. */

import type * as wire from "./schemas.js";

/** The server's, and those of this library: no answer came; `getToken` failed; see README. */
export type Code =
  | wire.Code
  | "connection_lost"
  | "no_token"
  | "key_expired"
  | "outbox_full"
  | "closed"
  | "not_ready"
  | `http_${number}`;

/** Of a version_conflict: with what was missed (`deltas`), or the whole session. */
export type Problem = Partial<Omit<wire.WsError, "type" | "id" | "sessionId" | "code" | "detail">> & { code: Code; detail: string };

export class HandoffError extends Error {
  readonly code: Code;
  readonly temporary: boolean;
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(`${problem.code}: ${problem.detail}`);
    this.name = "HandoffError";
    this.code = problem.code;
    this.temporary = problem.temporary ?? false;
    this.problem = problem;
  }
}

/** No answer came: what became of the request is not known. */
export function lostConnection(detail: string): HandoffError {
  return new HandoffError({ code: "connection_lost", detail, temporary: true });
}
