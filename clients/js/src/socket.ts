/** One WebSocket for all sessions of this device: authenticated by its first message, kept alive, opened again as the close codes ask. */

import { Backoff } from "./backoff.js";
import { HandoffError, lostConnection, Problem } from "./errors.js";
import type { Link, LinkState, Subscriber } from "./link.js";
import type { WebSocketClass } from "./options.js";
import type { Ack, Answer, Command, Frame, Hello } from "./protocol.js";
import { ackOf, Caller, sendByRest } from "./rest.js";
import type { WsAck } from "./schemas.js";

const SILENT_MS = 20000; // then it is asked for a sign of life
const SIGN_MS = 10000; // which has to come within
const ANSWER_MS = 30000; // the server takes 5 s at most, a slow network longer: then the connection is given up with all that waits
const REFRESH_MS = 10000; // between one token and the next, also when getToken gives one that is about to expire
const NO_RETURN = new Set([1003, 1007, 1009, 4001]);
const TOKEN_EXPIRED = 4002;
const TEMPORARY_LOSS = new Set(["unavailable", "timeout", "rate_limited", "connection_lost"]);

export interface SocketOptions extends Caller {
  socketUrl: string;
  WebSocket: WebSocketClass;
  device: { name?: string; platform?: string };
  /** state: of the link; problem: why it stopped. */
  onState(state: LinkState, problem?: Problem): void;
  /** A connection was refused before it could be used, for the nth time in a row. */
  onRefused(n: number): void;
  onHello(hello: Hello): void;
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: HandoffError): void;
  timer: ReturnType<typeof setTimeout>;
}

function retryAfter(reason: string): number | null {
  try {
    const ms = (JSON.parse(reason) as { retryAfterMs?: number }).retryAfterMs;
    return typeof ms === "number" && ms >= 0 ? ms : null;
  } catch {
    return null;
  }
}

/** Whether the same command, sent again later, may be answered otherwise. */
export function isTemporary(error: unknown): boolean {
  return error instanceof HandoffError && (error.temporary || TEMPORARY_LOSS.has(error.code));
}

/** Why the session is not told any more; null: it was asked for. */
export function lossOf(frame: Frame): HandoffError | null {
  const code = frame.type === "unsubscribed" ? frame.code : undefined;
  return code ? new HandoffError({ code, detail: "the session is not told to this device any more" }) : null;
}

export class SocketLink implements Link {
  state: LinkState = "connecting";
  private socket: WebSocket | null = null;
  private readonly subscribers = new Map<string, Subscriber>();
  private readonly waiting = new Map<string, Waiting>();
  private readonly backoff = new Backoff();
  private again: ReturnType<typeof setTimeout> | null = null;
  private watch: ReturnType<typeof setTimeout> | null = null;
  private refreshing: ReturnType<typeof setTimeout> | null = null;
  private readonly askingAgain = new Map<Subscriber, ReturnType<typeof setTimeout>>();
  private nextId = 1;
  private nRefused = 0;
  /** What the server said to the token, and how often in a row. */
  private refusal: Problem | null = null;
  private nRefusals = 0;
  private maxBytes = 65536;
  private refreshedAt = 0;

  constructor(private readonly options: SocketOptions) {
    void this.open();
  }

  // ---- the connection ----

  private setState(state: LinkState, problem?: Problem): void {
    this.state = state;
    this.options.onState(state, problem);
    for (const subscriber of [...this.subscribers.values()]) {
      subscriber.linkChanged(state, problem);
    }
  }

  private get isWanted(): boolean {
    return this.state === "connecting" && !this.socket; // not closed, or opened by another, meanwhile
  }

  private async open(): Promise<void> {
    this.setState("connecting");
    let token: string;
    try {
      token = await this.options.getToken();
    } catch (error) {
      if (this.isWanted) {
        this.withoutToken((error as HandoffError).problem);
      }
      return;
    }
    if (this.isWanted) {
      this.connect(token);
    }
  }

  /* Its server may be away as well: only who says so for good stops. */
  private withoutToken(problem: Problem): void {
    if (problem.temporary) {
      this.later(this.backoff.next(), problem);
    } else {
      this.stop(problem);
    }
  }

  private connect(token: string): void {
    const url = `${this.options.socketUrl.replace(/^http/, "ws")}/ws?device_id=${encodeURIComponent(this.options.deviceId)}`;
    let socket: WebSocket;
    try {
      socket = new this.options.WebSocket(url, ["handoff.v1"]);
    } catch {
      this.options.onRefused(Infinity); // the page's policy lets none be made
      this.later(this.backoff.next());
      return;
    }
    this.socket = socket;
    this.expect(SIGN_MS);
    socket.onopen = () => void this.authenticate(token).catch((error: HandoffError) => this.noteRefusal(error));
    socket.onmessage = (message) => this.take(socket, String(message.data));
    socket.onclose = (close) => this.lost(socket, close.code, close.reason);
    // onclose follows, but where the page's policy lets no WebSocket through
    socket.onerror = () => void setTimeout(() => socket.readyState === 3 && this.lost(socket, 1006, ""));
  }

  private async authenticate(token: string): Promise<void> {
    const hello = await this.ask<Hello>({ type: "auth", token, device: this.options.device });
    this.maxBytes = hello.maxMessageBytes;
    this.options.onHello(hello);
    if (this.state === "open") {
      return; // it was a fresh token for a connection that goes on
    }
    this.backoff.reset();
    this.nRefused = this.nRefusals = 0;
    this.setState("open");
    for (const subscriber of this.subscribers.values()) {
      this.askFor(subscriber);
    }
  }

  private noteRefusal(error: HandoffError): void {
    if (!isTemporary(error)) {
      this.refusal = error.problem;
      this.nRefusals++;
    }
  }

  private async refresh(socket: WebSocket): Promise<void> {
    try {
      const token = await this.options.getToken();
      this.refreshedAt = Date.now();
      if (socket === this.socket) {
        await this.authenticate(token);
      }
    } catch {
      // the connection closes when its token expires, and opens again with another
    }
  }

  /* The socket's own closing may take long on a dead network: it is not waited for. */
  private drop(code: number): void {
    const socket = this.socket;
    if (socket) {
      this.lost(socket, code, "");
      socket.close();
    }
  }

  private lost(socket: WebSocket, code: number, reason: string): void {
    if (socket !== this.socket) {
      return;
    }
    const wasOpen = this.state === "open";
    this.socket = null;
    clearTimeout(this.watch ?? undefined);
    clearTimeout(this.refreshing ?? undefined);
    this.askingAgain.forEach((timer) => clearTimeout(timer));
    this.askingAgain.clear();
    for (const [id, waiting] of [...this.waiting]) {
      this.end(id);
      waiting.reject(lostConnection(`the connection closed with ${code}`));
    }
    if (this.state === "stopped") {
      return;
    }
    const refusal = this.refusal;
    this.refusal = null;
    if (NO_RETURN.has(code) || (refusal && this.nRefusals > 1)) {
      const detail = `the server closed the connection with ${code}`;
      this.stop(refusal ?? { code: code === 4001 ? "unauthenticated" : "closed", detail });
      return;
    }
    if (!wasOpen && !refusal) {
      this.options.onRefused(++this.nRefused);
    }
    const isAtOnce = code === TOKEN_EXPIRED && this.nRefusals < 2; // with a fresh token
    this.later(isAtOnce ? 0 : retryAfter(reason) ?? this.backoff.next());
  }

  private later(ms: number, problem?: Problem): void {
    if (this.state === "stopped") {
      return; // onRefused may have closed the link
    }
    this.setState("waiting", problem);
    clearTimeout(this.again ?? undefined);
    this.again = setTimeout(() => void this.open(), ms);
  }

  private stop(problem?: Problem): void {
    clearTimeout(this.again ?? undefined);
    this.setState("stopped", problem);
  }

  reconnect(): void {
    if (this.state === "open" || this.state === "connecting") {
      return;
    }
    clearTimeout(this.again ?? undefined);
    this.backoff.reset();
    void this.open();
  }

  /** Asks for a sign of life now: the network may have changed. */
  probe(): void {
    if (this.state === "open") {
      this.write({ type: "ping" });
      this.expect(SIGN_MS);
    } else if (this.state === "waiting") {
      this.reconnect();
    }
  }

  close(): void {
    this.stop();
    this.drop(1000);
  }

  /* Something has to be heard within that time. */
  private expect(ms: number): void {
    clearTimeout(this.watch ?? undefined);
    this.watch = setTimeout(() => this.drop(1006), ms);
  }

  private heard(): void {
    clearTimeout(this.watch ?? undefined);
    this.watch = setTimeout(() => this.probe(), SILENT_MS);
  }

  // ---- frames ----

  private take(socket: WebSocket, text: string): void {
    if (socket !== this.socket) {
      return;
    }
    this.heard();
    const frame = JSON.parse(text) as Frame;
    const id = "id" in frame ? frame.id : undefined;
    if (frame.type === "token_expiring") {
      clearTimeout(this.refreshing ?? undefined);
      this.refreshing = setTimeout(() => void this.refresh(socket), Math.max(0, this.refreshedAt + REFRESH_MS - Date.now()));
    }
    const waiting = id === undefined ? undefined : this.waiting.get(id);
    if (id !== undefined && waiting) {
      this.end(id);
      this.answer(waiting, frame);
    }
    const subscriber = "sessionId" in frame && frame.sessionId ? this.subscribers.get(frame.sessionId) : undefined;
    if (subscriber && frame.type !== "error") {
      this.tell(subscriber, frame);
    }
  }

  private tell(subscriber: Subscriber, frame: Frame): void {
    const why = lossOf(frame);
    if (frame.type !== "unsubscribed") {
      subscriber.take(frame);
    } else if (why && isTemporary(why)) {
      subscriber.linkChanged("waiting");
      this.askAgain(subscriber, why.problem);
    } else if (why) {
      subscriber.lose(why.problem);
    } // else it was asked for, by one who listened before
  }

  private answer(waiting: Waiting, frame: Frame): void {
    if (frame.type === "error") {
      waiting.reject(new HandoffError(frame));
    } else {
      waiting.resolve(frame as Answer);
    }
  }

  private end(id: string): void {
    clearTimeout(this.waiting.get(id)?.timer);
    this.waiting.delete(id);
  }

  private write(message: object): void {
    this.socket?.send(JSON.stringify(message));
  }

  private ask<T extends Answer>(message: object): Promise<T> {
    const id = String(this.nextId++);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.drop(1006), ANSWER_MS);
      this.waiting.set(id, { resolve: resolve as (answer: Answer) => void, reject, timer });
      this.write({ ...message, id });
    });
  }

  // ---- sessions ----

  private askFor(subscriber: Subscriber): void {
    const { sessionId } = subscriber;
    const position = subscriber.position();
    const from = position ? { since: position.version, epoch: position.epoch } : {};
    this.ask({ type: "subscribe", sessionId, ...from }).catch((error: HandoffError) => {
      if (this.subscribers.get(sessionId) !== subscriber || error.code === "connection_lost") {
        return; // it is asked for again with the next connection
      }
      if (isTemporary(error)) {
        this.askAgain(subscriber, error.problem);
      } else {
        subscriber.lose(error.problem);
      }
    });
  }

  private askAgain(subscriber: Subscriber, problem: Problem): void {
    clearTimeout(this.askingAgain.get(subscriber));
    this.askingAgain.set(subscriber, setTimeout(() => this.resubscribe(subscriber), problem.retryAfterMs ?? this.backoff.next()));
  }

  subscribe(subscriber: Subscriber): void {
    this.subscribers.set(subscriber.sessionId, subscriber);
    this.resubscribe(subscriber);
  }

  resubscribe(subscriber: Subscriber): void {
    if (this.state === "open" && this.subscribers.get(subscriber.sessionId) === subscriber) {
      this.askFor(subscriber);
    }
  }

  unsubscribe(subscriber: Subscriber): void {
    if (this.subscribers.get(subscriber.sessionId) !== subscriber) {
      return;
    }
    this.subscribers.delete(subscriber.sessionId);
    clearTimeout(this.askingAgain.get(subscriber));
    this.askingAgain.delete(subscriber);
    if (this.state === "open") {
      this.write({ type: "unsubscribe", sessionId: subscriber.sessionId });
    }
  }

  async send(command: Command): Promise<Ack> {
    if (this.state !== "open") {
      throw lostConnection("there is no connection");
    }
    const size = new TextEncoder().encode(JSON.stringify(command)).length;
    if (size + 64 > this.maxBytes) {
      return sendByRest(this.options, command); // no frame is that large, a body may be
    }
    return ackOf(await this.ask<WsAck>(command));
  }
}
