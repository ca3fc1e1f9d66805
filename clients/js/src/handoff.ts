/** This device's way to Handoff: one connection, any number of sessions. */

import { Backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { HandoffError, Problem } from "./errors.js";
import type { Json } from "./json.js";
import type { Link, LinkState } from "./link.js";
import { HandoffOptions, ownDeviceId, randomId, socketUrlOf } from "./options.js";
import type { Hello, NewSession, SessionResource, Status } from "./protocol.js";
import { Caller, request } from "./rest.js";
import type { ResponseHandoff, ResponseSessionList } from "./schemas.js";
import { Session, SessionContext } from "./session.js";
import { isTemporary, SocketLink } from "./socket.js";
import { CommandStore, defaultStore } from "./store.js";
import { StreamLink } from "./stream.js";
import { oneAtATime, renewed, SessionToken } from "./tokens.js";

/** So often in a row no WebSocket came about: then something on the way lets none through. */
const MOST_REFUSED = 3;
/** After so long on event streams a WebSocket is tried again. */
const STREAMS_MS = 5 * 60 * 1000;

export interface ConnectionState {
  state: LinkState;
  transport: "websocket" | "stream";
  /** Why it stopped: `unauthenticated`, `no_token` … `reconnect()` tries again. */
  problem?: Problem;
}

function callerOf(url: string, { getToken, fetch }: HandoffOptions, deviceId: string): Caller {
  return {
    url: url.replace(/\/+$/, ""),
    deviceId,
    getToken: oneAtATime(getToken),
    fetch: fetch ?? ((input, init) => globalThis.fetch(input, init)),
  };
}

/* With the same key it takes effect once, however often it is sent. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const backoff = new Backoff();
  for (let n = 0; ; n++) {
    try {
      return await work();
    } catch (error) {
      if (n === 3 || !isTemporary(error)) {
        throw error;
      }
      const ms = (error as HandoffError).problem.retryAfterMs ?? backoff.next();
      await new Promise((resolve) => setTimeout(resolve, ms));
    }
  }
}

export interface TokenOptions extends Omit<HandoffOptions, "getToken"> {
  /** The device's own token for the session, when it is new and each time that it was renewed: what is kept outlives the page. */
  onToken?: (token: SessionToken) => void;
}

export interface RedeemOptions extends TokenOptions {
  /** Of who is signed in. */
  getToken?: HandoffOptions["getToken"];
  /** An idempotency key: with the same one an answer that was lost can be had again, until the code expires. */
  key?: string;
}

export class Handoff extends Emitter<{ state: ConnectionState }> {
  readonly deviceId: string;
  private readonly caller: Caller;
  private readonly socketUrl: string;
  private readonly store: CommandStore;
  private readonly sessions = new Map<string, { session: Session<never>; ready: Promise<void> }>();
  private link: Link | null = null;
  private current: ConnectionState = { state: "connecting", transport: "websocket" };
  private streamsUntil: ReturnType<typeof setTimeout> | null = null;
  /** The server's clock less this device's, ms. */
  private offsetMs = 0;
  private isClosed = false;
  private nLinks = 0;
  private readonly unlisten: () => void;

  constructor(readonly url: string, private readonly options: HandoffOptions) {
    super();
    this.deviceId = options.device?.id ?? ownDeviceId();
    this.socketUrl = socketUrlOf(url, options.socketUrl);
    this.store = options.store ?? defaultStore();
    this.caller = callerOf(url, options, this.deviceId);
    this.unlisten = this.listenToNetwork();
  }

  /**
   * Redeems a handoff code, and opens its session. With `getToken` it is that user's; without, this device gets a token for the one
   * session, which is renewed while it is used. A code that is wrong, used or expired is `not_found`.
   */
  static async redeem<T extends Json = Json>(url: string, code: string, options: RedeemOptions = {}): Promise<{ handoff: Handoff; session: Session<T> }> {
    const { key = randomId(), getToken, ...more } = options;
    const id = more.device?.id ?? ownDeviceId();
    const caller = callerOf(url, { ...more, getToken: getToken ?? (() => "") }, id);
    const asked = { method: "POST", body: { code, device: { ...more.device, id } }, headers: { "Idempotency-Key": key } };
    const answer = (await patiently(() => request(caller, "/handoff", asked))).body as unknown as ResponseHandoff;
    const { id: sessionId, token, tokenExpiresAt: expiresAt, deviceId = id } = answer;
    const handoff = token
      ? Handoff.withToken(url, { sessionId, deviceId, token, expiresAt: expiresAt as string }, more, true)
      : new Handoff(url, { ...more, device: { ...more.device, id }, getToken: getToken as HandoffOptions["getToken"] });
    return { handoff, session: await handoff.open<T>(sessionId) };
  }

  /** With a session token that `onToken` gave to an earlier page. */
  static withToken(url: string, token: SessionToken, options: TokenOptions = {}, isFresh = false): Handoff {
    const { onToken = () => undefined, ...more } = options;
    if (isFresh) {
      onToken(token);
    }
    const device = { ...more.device, id: token.deviceId };
    const caller = callerOf(url, { ...more, getToken: () => token.token }, token.deviceId);
    return new Handoff(url, { ...more, device, getToken: renewed(caller, token, isFresh, onToken) });
  }

  // ---- sessions ----

  /** Resolves when the session was told; rejects with HandoffError, `not_found` for one. The same session twice is the same object. */
  async open<T extends Json = Json>(sessionId: string): Promise<Session<T>> {
    if (this.isClosed) {
      throw new HandoffError({ code: "closed", detail: "this Handoff was closed" });
    }
    let entry = this.sessions.get(sessionId);
    if (!entry) {
      const session = new Session<never>(sessionId, this.context());
      entry = { session, ready: session.begin() };
      this.sessions.set(sessionId, entry);
    }
    await entry.ready;
    return entry.session as unknown as Session<T>;
  }

  /** Makes a session and opens it. With a key of one's own it is made once, however often this is called within a day. */
  async create<T extends Json = Json>(session: NewSession<T>, key = randomId()): Promise<Session<T>> {
    const headers = { "Idempotency-Key": key };
    const { body } = await patiently(() => request(this.caller, "/sessions", { method: "POST", body: session, headers }));
    return this.open<T>((body as unknown as SessionResource).id);
  }

  /** One's own sessions and those shared with one, newest first. */
  async list(query: { status?: Status; type?: string; limit?: number; cursor?: string } = {}): Promise<ResponseSessionList> {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
    return (await request(this.caller, `/sessions${text ? `?${text}` : ""}`)).body as unknown as ResponseSessionList;
  }

  private context(): SessionContext {
    return {
      link: () => (this.link ??= this.connect()),
      caller: this.caller,
      store: this.store,
      closed: (session) => this.sessions.delete(session.sessionId),
    };
  }

  // ---- the connection ----

  get connection(): ConnectionState {
    return this.current;
  }

  /** Changes of this device, of all its sessions, that have no answer yet. */
  get unsent(): number {
    return [...this.sessions.values()].reduce((sum, { session }) => sum + session.sync.unsent, 0);
  }

  /** The server's time now, ms since 1970: what clocks are reckoned with. */
  now(): number {
    return Date.now() + this.offsetMs;
  }

  /** Tries at once, also when it had stopped: after a new sign-in. */
  reconnect(): void {
    this.link?.reconnect();
  }

  /** Closes all sessions. What was not answered stays in the store. */
  close(): void {
    this.isClosed = true;
    for (const { session } of [...this.sessions.values()]) {
      session.close();
    }
    clearTimeout(this.streamsUntil ?? undefined);
    this.unlisten();
    this.link?.close();
  }

  /** Browsers ask before the page goes while changes are unsent. Returns what ends it. */
  guardLeaving(): () => void {
    const guard = (event: BeforeUnloadEvent) => {
      if (this.unsent > 0) {
        event.preventDefault();
        event.returnValue = true;
      }
    };
    globalThis.addEventListener?.("beforeunload", guard);
    return () => globalThis.removeEventListener?.("beforeunload", guard);
  }

  private get socketClass() {
    const given = this.options.WebSocket;
    return given === undefined ? (globalThis.WebSocket ?? null) : given;
  }

  private connect(): Link {
    return this.socketClass && !this.streamsUntil ? this.openSocket() : this.openStreams();
  }

  private readonly onHello = ({ serverTime }: Hello): void => {
    this.offsetMs = Date.parse(serverTime) - Date.now();
  };

  /* What a connection tells that another one replaced is of no interest. */
  private noting(transport: ConnectionState["transport"]): (state: LinkState, problem?: Problem) => void {
    const n = ++this.nLinks;
    return (state, problem) => {
      if (n === this.nLinks) {
        this.current = { state, transport, ...(problem ? { problem } : {}) };
        this.emit("state", this.current);
      }
    };
  }

  private openSocket(): Link {
    const onState = this.noting("websocket");
    const { name, platform } = this.options.device ?? {};
    return new SocketLink({
      ...this.caller,
      socketUrl: this.socketUrl,
      WebSocket: this.socketClass as NonNullable<typeof this.socketClass>,
      device: { ...(name ? { name } : {}), ...(platform ? { platform } : {}) },
      onState,
      onHello: this.onHello,
      onRefused: (n) => void this.refused(n),
    });
  }

  private openStreams(): Link {
    return new StreamLink({
      ...this.caller,
      socketUrl: this.socketUrl,
      onState: this.noting("stream"),
      onHello: this.onHello,
    });
  }

  /* It may be the network, which streams need as well. */
  private async refused(n: number): Promise<void> {
    const link = this.link;
    if (n < MOST_REFUSED) {
      return;
    }
    const isThere = await this.caller.fetch(`${this.caller.url}/time`, { cache: "no-store" }).then((r) => r.ok, () => false);
    if (isThere && link && link === this.link && link.state !== "open" && link.state !== "stopped") {
      this.useStreams();
    }
  }

  private useStreams(): void {
    this.streamsUntil = setTimeout(() => {
      this.streamsUntil = null;
      this.change();
    }, STREAMS_MS);
    (this.streamsUntil as { unref?: () => void }).unref?.();
    this.change();
  }

  /* From one kind of connection to the other, with all sessions. */
  private change(): void {
    const old = this.link;
    this.link = this.connect();
    old?.close();
    for (const { session } of this.sessions.values()) {
      this.link.subscribe(session);
    }
  }

  private listenToNetwork(): () => void {
    const look = () => (this.link instanceof SocketLink ? this.link.probe() : this.link?.reconnect());
    const page = globalThis.document;
    const shown = () => void (page.hidden || look()); // a phone that was asleep
    const names = ["online", "offline"];
    names.forEach((name) => globalThis.addEventListener?.(name, look));
    page?.addEventListener("visibilitychange", shown);
    return () => {
      names.forEach((name) => globalThis.removeEventListener?.(name, look));
      page?.removeEventListener("visibilitychange", shown);
    };
  }
}
