/** Without a WebSocket: an event stream (Server-Sent Events, read by fetch, which can send the token) a session, and commands by REST. */

import { Backoff } from "./backoff.js";
import { HandoffError, lostConnection, Problem } from "./errors.js";
import type { Link, LinkState, Subscriber } from "./link.js";
import type { Ack, Command, Frame, Hello } from "./protocol.js";
import { Caller, sendByRest } from "./rest.js";
import { isTemporary, lossOf } from "./socket.js";

const SILENT_MS = 30000; // a comment comes every 15 s

export interface StreamOptions extends Caller {
  socketUrl: string;
  onState(state: LinkState, problem?: Problem): void;
  onHello(hello: Hello): void;
}

/* The lines of the stream, as they come; it ends when the server ends it, fails when nothing comes any more. */
async function* lines(body: ReadableStream<Uint8Array>, abort: AbortController): AsyncGenerator<string> {
  const reader = body.getReader(), decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const timer = setTimeout(() => abort.abort(), SILENT_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) {
      return;
    }
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = parts.pop() as string;
    for (const part of parts) {
      yield part;
    }
  }
}

/* One session's stream, until it is closed. */
class Stream {
  private readonly backoff = new Backoff();
  private abort = new AbortController();
  private again: ReturnType<typeof setTimeout> | null = null;
  private isClosed = false;
  private nRefusals = 0;
  isOpen = false;

  constructor(private readonly link: StreamLink, private readonly options: StreamOptions, readonly subscriber: Subscriber) {
    void this.run();
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.again ?? undefined);
    this.abort.abort();
  }

  /* Again, from the subscriber's position. */
  restart(): void {
    if (this.isClosed) {
      return;
    }
    this.abort.abort();
    clearTimeout(this.again ?? undefined);
    void this.run();
  }

  private async connect(abort: AbortController): Promise<Response> {
    const { sessionId } = this.subscriber;
    const position = this.subscriber.position();
    const response = await this.options.fetch(`${this.options.socketUrl}/sessions/${sessionId}/events`, {
      headers: {
        Authorization: `Bearer ${await this.options.getToken()}`,
        "X-Device-Id": this.options.deviceId,
        Accept: "text/event-stream",
        ...(position ? { "Last-Event-ID": `${position.epoch}:${position.version}` } : {}),
      },
      signal: abort.signal,
    });
    if (response.ok && response.body) {
      return response;
    }
    const problem = (await response.json().catch(() => null)) as Problem | null;
    throw new HandoffError(problem?.code ? problem : { code: "unavailable", detail: `HTTP ${response.status}`, temporary: true });
  }

  private async read(abort: AbortController): Promise<number | null> {
    const response = await this.connect(abort);
    let retryMs: number | null = null;
    for await (const line of lines(response.body as ReadableStream<Uint8Array>, abort)) {
      if (line.startsWith("data: ")) {
        this.take(JSON.parse(line.slice(6)) as Frame);
      } else if (line.startsWith("retry: ")) {
        retryMs = Number(line.slice(7));
      }
    }
    return retryMs;
  }

  private take(frame: Frame): void {
    if (!this.isOpen) {
      this.isOpen = true;
      this.nRefusals = 0;
      this.backoff.reset();
      this.link.streamChanged();
    }
    if (frame.type === "hello") {
      this.options.onHello(frame);
      return;
    }
    const why = lossOf(frame);
    if (!why) {
      this.subscriber.take(frame);
    } else if (!isTemporary(why)) {
      this.subscriber.lose(why.problem);
    } // else the stream ends, and begins again
  }

  private async run(): Promise<void> {
    const abort = (this.abort = new AbortController());
    let retryMs: number | null = null;
    try {
      retryMs = await this.read(abort);
    } catch (error) {
      if (error instanceof HandoffError && !isTemporary(error) && !this.isClosed && this.abort === abort && this.refused(error)) {
        return;
      }
    }
    if (this.isClosed || this.abort !== abort) {
      return; // another one has begun
    }
    abort.abort(); // what ended in the midst of it is not read any more
    this.isOpen = false;
    this.link.streamChanged();
    this.subscriber.linkChanged("waiting");
    this.again = setTimeout(() => void this.run(), retryMs ?? this.backoff.next());
  }

  /* False: once more, with another token. */
  private refused(error: HandoffError): boolean {
    const isToken = error.code === "unauthenticated" || error.code === "token_expired" || error.code === "no_token";
    if (isToken && ++this.nRefusals < 2) {
      return false;
    }
    this.isOpen = false;
    if (isToken) {
      this.link.stop(error.problem);
    } else {
      this.subscriber.lose(error.problem);
    }
    return true;
  }
}

export class StreamLink implements Link {
  state: LinkState = "connecting";
  private readonly streams = new Map<string, Stream>();
  private isClosed = false;

  constructor(private readonly options: StreamOptions) {}

  private setState(state: LinkState, problem?: Problem): void {
    if (state === this.state) {
      return;
    }
    this.state = state;
    this.options.onState(state, problem);
    for (const stream of [...this.streams.values()]) {
      stream.subscriber.linkChanged(state, problem);
    }
  }

  /** Of a stream: it opened or ended. */
  streamChanged(): void {
    if (this.state !== "stopped") {
      const isOpen = [...this.streams.values()].some((stream) => stream.isOpen);
      this.setState(isOpen ? "open" : "waiting");
    }
  }

  /** The token is not good. */
  stop(problem: Problem): void {
    for (const stream of this.streams.values()) {
      stream.close();
    }
    this.setState("stopped", problem);
  }

  subscribe(subscriber: Subscriber): void {
    this.streams.get(subscriber.sessionId)?.close();
    if (this.isClosed) {
      return;
    }
    this.streams.set(subscriber.sessionId, new Stream(this, this.options, subscriber));
  }

  resubscribe(subscriber: Subscriber): void {
    this.streams.get(subscriber.sessionId)?.restart();
  }

  unsubscribe(subscriber: Subscriber): void {
    this.streams.get(subscriber.sessionId)?.close();
    this.streams.delete(subscriber.sessionId);
  }

  send(command: Command): Promise<Ack> {
    return this.state === "open" ? sendByRest(this.options, command) : Promise.reject(lostConnection("there is no connection"));
  }

  reconnect(): void {
    if (this.state === "stopped") {
      this.setState("connecting");
      for (const { subscriber } of [...this.streams.values()]) {
        this.subscribe(subscriber);
      }
    } else {
      for (const stream of this.streams.values()) {
        if (!stream.isOpen) {
          stream.restart();
        }
      }
    }
  }

  close(): void {
    this.isClosed = true;
    for (const stream of this.streams.values()) {
      stream.close();
    }
    this.setState("stopped");
  }
}
