/** A session on this device: what the server told, with this device's own unanswered changes on top. */

import { Emitter } from "./emitter.js";
import { Code, HandoffError, Problem } from "./errors.js";
import { equal, Json } from "./json.js";
import type { Link, LinkState, Subscriber } from "./link.js";
import { randomId } from "./options.js";
import { Outbox, Pending, Redo } from "./outbox.js";
import { apply, diff, Operation } from "./patch.js";
import type { Ack, Clock, Command, Device, Event, Frame, Position, SessionResource, Status } from "./protocol.js";
import { isBefore, Replica } from "./replica.js";
import { Caller, request } from "./rest.js";
import type { RequestHandoffCode, ResponseHandoffCode, TargetStatus } from "./schemas.js";
import type { CommandStore } from "./store.js";

const MAX_REBASES = 100; // in a row, each of which another's change was quicker than
/** With these it is of no use to send what waits. */
const GONE: ReadonlySet<Code> = new Set<Code>(["not_found", "forbidden", "device_removed"]);

const closed = () => new HandoffError({ code: "closed", detail: "the session was closed here" });

export interface SyncStatus {
  /** connecting: not heard from the server yet, or not again. closed: it will not be, see `lost`. */
  state: "connecting" | "synced" | "offline" | "closed";
  /** Changes of this device that have no answer yet. */
  unsent: number;
}

export interface Conflict {
  /** version_conflict and others; what was missed is in `problem`. */
  code: Code;
  reason: string;
  problem: Problem;
  /** This device's change, and whether it is made anew on what there is now, or taken back. */
  operations: Operation[];
  resolved: boolean;
}

export interface DeviceChange {
  joined: string[];
  left: string[];
  /** Of one device: what it calls itself. */
  name?: string | null;
  platform?: string | null;
}

export interface SessionEvents {
  /** Something of the session changed: by whom, and by which event (null: by this device, not answered yet, or by a whole session). */
  change: { source: "local" | "remote" | "rollback" | "sync"; event: Event | null };
  state: SyncStatus;
  conflict: Conflict;
  devices: DeviceChange;
  broadcast: { message: Json; deviceId: string | null };
  warning: { participantId: string | null; remainingMs: number };
  /** The session is not there any more for this device: `not_found`, `device_removed`, `forbidden` … */
  lost: { code: Code; reason: string };
}

export interface PatchOptions {
  /**
   * When others changed the same: "rebase" (default) makes the change anew on what there is now; "reject" takes it back. What does not
   * touch the same is merged in both cases.
   */
  onConflict?: "rebase" | "reject";
}

/** `url` is what the QR code says: a page of the app, with the code. */
export type HandoffCode = ResponseHandoffCode;

export interface SessionContext {
  link(): Link;
  caller: Caller;
  store: CommandStore;
  closed(session: Session<never>): void;
}

type PatchCommand = Extract<Command, { type: "patch" }>;

/* What the function makes of the data, as operations. It may write to what it is given. */
function operationsOf(change: (data: Json) => Json | void, before: Json): Operation[] {
  const draft = structuredClone(before);
  const returned = change(draft);
  if (returned !== undefined && returned !== draft && !equal(draft, before)) {
    throw new TypeError("the function changed its data and returned something else: write `(data) => { data.n++; }`");
  }
  // As it is sent: a member that is undefined is none, a Date is its text.
  return diff(before, JSON.parse(JSON.stringify(returned === undefined ? draft : returned)) as Json, "/data");
}

/* The session with a command that was not told yet; null: it does not fit. */
function withCommand(before: SessionResource, pending: Pending): SessionResource | null {
  if (pending.command.type !== "patch") {
    return before;
  }
  try {
    if (pending.redo && pending.sentAt === null) {
      pending.command.operations = pending.redo(before.data);
    }
    return { ...before, ...(apply({ data: before.data, name: before.name }, pending.command.operations) as { data: Json; name: string }) };
  } catch {
    return null;
  }
}

export class Session<T extends Json = Json> extends Emitter<SessionEvents> implements Subscriber {
  private readonly replica = new Replica();
  private readonly outbox: Outbox;
  private readonly rebases = new WeakMap<Pending, number>();
  private readonly rejects = new WeakSet<Pending>();
  /** Unanswered, and told by their event already, in that epoch. */
  private readonly shown = new WeakMap<Pending, number>();
  private view: SessionResource | null = null;
  private status_: SyncStatus = { state: "connecting", unsent: 0 };
  private isSynced = false;
  private isClosed = false;
  private unwatch: (() => void) | undefined;
  private readonly readiness: Promise<void>;
  private becomeReady!: () => void;
  private failReady!: (error: HandoffError) => void;

  constructor(readonly sessionId: string, private readonly context: SessionContext) {
    super();
    this.readiness = new Promise((resolve, reject) => {
      this.becomeReady = resolve;
      this.failReady = reject;
    });
    this.readiness.catch(() => undefined);
    this.outbox = new Outbox({
      store: context.store,
      send: (command) => context.link().send(command),
      prepare: (pending) => this.prepare(pending),
      done: (pending, ack) => this.done(pending, ack),
      refused: (pending, error) => this.refused(pending, error),
      changed: () => this.tellStatus(),
    });
  }

  /** Resolves with the first state from the server; rejects when there is none for this device. */
  async begin(): Promise<void> {
    await this.adopt();
    if (!this.isClosed) {
      this.unwatch = this.context.store.watch?.(this.sessionId, () => void this.adopt());
      this.context.link().subscribe(this);
    }
    await this.readiness;
  }

  /* What a page that has gone left unsent is this one's from now on. */
  private async adopt(): Promise<void> {
    const stored = await this.context.store.load(this.sessionId).catch(() => []);
    if (stored.length && !this.isClosed) {
      this.outbox.restore(stored);
      if (this.view) {
        this.render("local", null);
      }
    }
  }

  // ---- what there is ----

  private get resource(): SessionResource {
    if (!this.view) {
      throw new HandoffError({ code: "not_ready", detail: "the session was not told yet" });
    }
    return this.view;
  }

  /** With this device's unanswered changes. Do not write to it: `patch` does. */
  get data(): T {
    return this.resource.data as T;
  }

  get name(): string {
    return this.resource.name;
  }

  get type(): string {
    return this.resource.type;
  }

  get status(): Status {
    return this.resource.status;
  }

  get role(): SessionResource["role"] {
    return this.resource.role;
  }

  get activeDeviceId(): string | null {
    return this.resource.activeDeviceId;
  }

  get isActiveHere(): boolean {
    return this.activeDeviceId === this.context.caller.deviceId;
  }

  get clock(): Clock | null {
    return this.resource.clock ?? null;
  }

  /** The session as the server told it last. */
  get confirmed(): SessionResource<T> {
    return (this.replica.session ?? this.resource) as SessionResource<T>;
  }

  get sync(): SyncStatus {
    return this.status_;
  }

  // ---- commands ----

  /**
   * Changes `data` (and `name`, by operations): at once here, then at the server. Takes operations of RFC 6902, whose pointers begin
   * with /data or /name, or a function that changes a copy of `data` or returns what it is to be; after a conflict it is called again,
   * with what there is then. The promise resolves when the server has it, and rejects when it was taken back.
   */
  patch(change: Operation[] | ((data: T) => T | void), options: PatchOptions = {}): Promise<Ack> {
    if (this.isClosed || this.outbox.isFull) {
      return this.add(this.command("", [])); // which says so
    }
    const current = this.resource;
    const redo = typeof change === "function" ? (data: Json) => operationsOf(change as (data: Json) => Json | void, data) : null;
    const operations = redo ? redo(current.data) : (change as Operation[]);
    if (!operations.length) {
      return Promise.resolve({ epoch: current.epoch, version: current.version });
    }
    const changed = apply({ data: current.data, name: current.name }, operations); // throws PatchError: then nothing has happened
    const answer = this.add(this.command(randomId(), operations), redo);
    if (options.onConflict === "reject") {
      this.rejects.add(this.outbox.items[this.outbox.items.length - 1] as Pending);
    }
    this.view = { ...current, ...(changed as { data: Json; name: string }) };
    this.emit("change", { source: "local", event: null });
    return answer;
  }

  private add(command: Command, redo: Redo | null = null): Promise<Ack> {
    return this.isClosed ? Promise.reject(closed()) : this.outbox.add(command, redo);
  }

  /* On what this device knows now. */
  private command(key: string, operations: Operation[]): PatchCommand {
    const { version, epoch } = this.replica.position ?? this.resource;
    return { type: "patch", sessionId: this.sessionId, key, operations, baseVersion: version, epoch, merge: "disjoint" };
  }

  setStatus(status: TargetStatus): Promise<Ack> {
    return this.add({ type: "status", sessionId: this.sessionId, key: randomId(), status });
  }

  pause(): Promise<Ack> {
    return this.setStatus("paused");
  }

  /** Makes the session active on this device: goes on, or takes it over from another. */
  activate(): Promise<Ack> {
    return this.setStatus("active");
  }

  complete(): Promise<Ack> {
    return this.setStatus("completed");
  }

  /** Ends a turn of the clock: that of `currentParticipantId`, left out: whose it is as far as this device knows. */
  switchTurn(turn: { currentParticipantId?: string; nextParticipantId?: string } = {}): Promise<Ack> {
    const currentParticipantId = turn.currentParticipantId ?? this.clock?.activeParticipantId ?? undefined;
    return this.add({
      type: "switch",
      sessionId: this.sessionId,
      key: randomId(),
      ...(currentParticipantId ? { currentParticipantId } : {}),
      ...(turn.nextParticipantId ? { nextParticipantId: turn.nextParticipantId } : {}),
    });
  }

  /** To all devices that are connected now, but this one; nothing is kept. */
  async broadcast(message: Json, options: { echo?: boolean } = {}): Promise<void> {
    await this.call("/broadcast", { method: "POST", body: { message, ...options } });
  }

  /** In use, though nothing changes: the session does not lapse. */
  async heartbeat(): Promise<void> {
    await this.call("/heartbeat", { method: "POST" });
  }

  async devices(): Promise<{ items: Device[] }> {
    return (await this.call("/devices")).body as unknown as { items: Device[] };
  }

  /** For another device: it redeems the code within `ttlSeconds`, once. Without a role it is for another device of the same user. */
  async handoffCode(offer: RequestHandoffCode = {}): Promise<HandoffCode> {
    return (await this.call("/handoff-codes", { method: "POST", body: offer })).body as unknown as HandoffCode;
  }

  /** The code's url as a QR code: an SVG image, or for a terminal, `text/plain`. */
  async qrCode(code: string, type: "image/svg+xml" | "text/plain" = "image/svg+xml"): Promise<string> {
    return (await this.call(`/handoff-codes/${code}`, { headers: { Accept: type } })).body as string;
  }

  private call(path: string, options = {}): ReturnType<typeof request> {
    return request(this.context.caller, `/sessions/${this.sessionId}${path}`, options);
  }

  /** Nothing is told any more. What was not answered stays in the store, for the next time. */
  close(): void {
    if (this.isClosed) {
      return;
    }
    this.isClosed = true;
    this.unwatch?.();
    this.failReady(closed());
    this.outbox.close();
    this.context.link().unsubscribe(this);
    this.context.closed(this as unknown as Session<never>);
    this.tellStatus();
  }

  // ---- changes of this device ----

  private prepare(pending: Pending): Position | null {
    const before = this.replica.session;
    if (pending.command.type !== "patch" || !pending.redo || !before) {
      return null;
    }
    const operations = pending.redo(before.data);
    pending.command = this.command(pending.command.key, operations);
    return operations.length ? null : { epoch: before.epoch, version: before.version };
  }

  private done(pending: Pending, ack: Ack): boolean {
    const at = this.replica.position;
    const isTold = at !== null && !isBefore(at, ack);
    if (!isTold) {
      this.shown.delete(pending); // it was another's that looked the same
    }
    return isTold;
  }

  /* What was missed comes with the conflict. The connection brings it as well: the copy takes it once. */
  private learn(problem: Problem): void {
    if (problem.session) {
      this.replaceWith(problem.session);
    }
    for (const event of problem.deltas ?? []) {
      if (this.replica.take(event) === "applied") {
        this.noteOwn(event);
      }
    }
    this.settle();
  }

  private settle(): void {
    if (this.replica.position) {
      this.outbox.settle(this.replica.position);
    }
  }

  private refused(pending: Pending, error: HandoffError): boolean {
    const command = pending.command;
    if (command.type !== "patch") {
      return false;
    }
    const isConflict = error.code === "version_conflict" && !this.rejects.has(pending);
    const n = this.rebases.get(pending) ?? 0;
    this.learn(error.problem);
    const resolved = isConflict && n < MAX_REBASES && this.fits(pending);
    if (resolved) {
      this.rebases.set(pending, n + 1);
      pending.command = this.command(command.key, command.operations);
    } else {
      this.outbox.items = this.outbox.items.filter((other) => other !== pending);
    }
    this.render("rollback", null);
    this.emit("conflict", { code: error.code, reason: error.problem.detail, problem: error.problem, operations: command.operations, resolved });
    return resolved;
  }

  /* Whether the change can be made on what there is now. */
  private fits(pending: Pending): boolean {
    const before = this.replica.session;
    return before !== null && withCommand(before, pending) !== null;
  }

  /* What does not fit any more is left out: the server will say so. */
  private withPending(): SessionResource | null {
    let view = this.replica.session;
    for (const pending of this.outbox.items) {
      if (view && !this.isShown(pending)) {
        view = withCommand(view, pending) ?? view;
      }
    }
    return view;
  }

  private isShown(pending: Pending): boolean {
    return this.shown.get(pending) === this.replica.position?.epoch;
  }

  private render(source: SessionEvents["change"]["source"], event: Event | null): void {
    this.view = this.withPending();
    this.emit("change", { source, event });
  }

  // ---- from the server ----

  position(): Position | null {
    return this.replica.position;
  }

  linkChanged(state: LinkState, problem?: Problem): void {
    if (state !== "open") {
      this.isSynced = false;
      this.outbox.setOpen(false);
    }
    if (state === "stopped" && problem && !this.replica.session) {
      this.failReady(new HandoffError(problem)); // what waits in the store stays there
      this.close();
    }
    this.tellStatus();
  }

  take(frame: Frame): void {
    switch (frame.type) {
      case "state_sync":
        this.replaceWith(frame.session);
        this.inSync();
        this.render("sync", null);
        return;
      case "subscribed":
        this.inSync();
        return;
      case "device_joined":
        this.emit("devices", { joined: [frame.deviceId], left: [], name: frame.name, platform: frame.platform });
        return;
      case "device_left":
        this.emit("devices", { joined: [], left: [frame.deviceId], name: frame.name, platform: frame.platform });
        return;
      case "presence":
        this.emit("devices", { joined: frame.joined, left: frame.left });
        return;
      case "broadcast":
        this.emit("broadcast", { message: frame.message, deviceId: frame.deviceId });
        return;
      case "clock_warning":
        this.emit("warning", { participantId: frame.participantId, remainingMs: frame.remainingMs });
        return;
      default:
        if ("timestamp" in frame) {
          this.takeEvent(frame);
        }
    }
  }

  private replaceWith(session: SessionResource): void {
    this.replica.replace(session);
    this.settle();
  }

  private inSync(): void {
    this.isSynced = true;
    this.outbox.setOpen(true);
    this.becomeReady();
    this.tellStatus();
  }

  /* The session is asked for as a whole: without a position. */
  private startOver(): void {
    this.replica.session = null;
    this.isSynced = false;
    this.outbox.setOpen(false);
    this.context.link().resubscribe(this);
    this.tellStatus();
  }

  private takeEvent(event: Event): void {
    if (!this.replica.session) {
      return; // it comes with the whole session
    }
    const taken = this.replica.take(event);
    if (taken === "gap" || taken === "drift") {
      this.startOver();
    } else if (taken === "applied") {
      const isAsShown = this.noteOwn(event);
      this.settle();
      if (isAsShown && this.view) {
        const { data, name } = this.view; // not reckoned anew: many changes may wait behind this one
        this.view = { ...(this.replica.session as SessionResource), data, name };
        this.emit("change", { source: "remote", event });
      } else {
        this.render("remote", event);
      }
      this.learnRole(event);
    }
  }

  /*
   * This device's change, told before its answer came, is not to be shown twice; and what this device did on top of it knows of it, so
   * that it is no conflict. True: what is shown had it next, so that it stays the same.
   */
  private noteOwn(event: Event): boolean {
    const items = this.outbox.items;
    const isDone = ({ doneAt }: Pending) => doneAt?.version === event.version && doneAt.epoch === event.epoch;
    const own = items.find(isDone) ?? items.find((pending) => this.looksLike(pending, event));
    if (!own) {
      return false;
    }
    const isNext = own === items.find((pending) => !this.isShown(pending)) && this.looksLike(own, event);
    this.shown.set(own, event.epoch);
    for (const { sentAt, command } of items) {
      if (sentAt === null && command.type === "patch" && command.epoch === event.epoch && command.baseVersion === event.version - 1) {
        command.baseVersion = event.version;
      }
    }
    return isNext;
  }

  private looksLike(pending: Pending, event: Event): boolean {
    const { command } = pending;
    return (
      event.type === "state_delta" &&
      event.deviceId === this.context.caller.deviceId &&
      pending.sentAt !== null &&
      command.type === "patch" &&
      equal(command.operations as unknown as Json, event.operations as unknown as Json)
    );
  }

  private learnRole(event: Event): void {
    if (event.type !== "participant_changed") {
      return;
    }
    this.call("").then(
      ({ body }) => {
        const role = (body as unknown as SessionResource).role;
        if (this.replica.session && this.replica.session.role !== role) {
          this.replica.session = { ...this.replica.session, role };
          this.render("remote", event);
        }
      },
      () => undefined, // not there any more: the connection says so, too
    );
  }

  lose(problem: Problem): void {
    const { code, detail: reason } = problem;
    const error = new HandoffError(problem);
    this.failReady(error);
    this.close();
    if (GONE.has(code)) {
      this.outbox.fail(error); // else it stays in the store, for the next time
    }
    this.emit("lost", { code, reason });
  }

  private tellStatus(): void {
    const link = this.context.link().state;
    const away = link === "waiting" || link === "stopped" ? "offline" : "connecting";
    const next: SyncStatus = {
      state: this.isClosed ? "closed" : this.isSynced ? "synced" : away,
      unsent: this.outbox.nUnanswered,
    };
    if (next.state !== this.status_.state || next.unsent !== this.status_.unsent) {
      this.status_ = next;
      this.emit("state", next);
    }
  }
}
