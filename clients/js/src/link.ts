/** How sessions hear of the server, and tell it: by one WebSocket for all (socket.ts), or by event streams and REST (stream.ts). */

import type { Problem } from "./errors.js";
import type { Ack, Command, Frame, Position } from "./protocol.js";

export type LinkState =
  | "connecting"
  | "open"
  | "waiting" // to try again
  | "stopped"; // it will not try by itself: the token is not good, or the end was asked for

/** Who listens to a session. */
export interface Subscriber {
  readonly sessionId: string;
  /** From where on it needs events; null: it needs the session. */
  position(): Position | null;
  /** Of this session. */
  take(frame: Frame): void;
  /** It will not be told any more. */
  lose(problem: Problem): void;
  /** problem: why it stopped. */
  linkChanged(state: LinkState, problem?: Problem): void;
}

export interface Link {
  readonly state: LinkState;
  subscribe(subscriber: Subscriber): void;
  /** Again, from the subscriber's position. */
  resubscribe(subscriber: Subscriber): void;
  unsubscribe(subscriber: Subscriber): void;
  /** Rejects with HandoffError: `connection_lost` when nobody knows what became of it. */
  send(command: Command): Promise<Ack>;
  /** Tries at once, also when it had stopped. */
  reconnect(): void;
  close(): void;
}
