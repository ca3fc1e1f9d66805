/** What was refused, as the server says it (docs/PROTOCOL.md): the same codes over REST and WebSocket. */

import type { Event, SessionResource } from "./protocol.js";

export interface Problem {
  code: string;
  detail: string;
  /** May the same request succeed later? */
  temporary?: boolean;
  field?: string;
  pointer?: string;
  index?: number;
  retryAfterMs?: number;
  /** Of a version_conflict: what was missed, or the whole session. */
  currentVersion?: number;
  epoch?: number;
  deltas?: Event[];
  session?: SessionResource;
}

export class HandoffError extends Error {
  readonly code: string;
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
