/**
 * A session's commands that have no answer yet: kept in the store before they leave, sent one after the other, again after a lost
 * connection with the same keys, taken out when they are answered. So each takes effect once, in order, or its promise says why not.
 */

import { Backoff } from "./backoff.js";
import { HandoffError } from "./errors.js";
import type { Json } from "./json.js";
import type { Operation } from "./patch.js";
import type { Ack, Command, Position } from "./protocol.js";
import { isTemporary } from "./socket.js";
import type { CommandStore, StoredCommand } from "./store.js";

/** The server remembers a key for 24 h: an older command could take effect a second time. */
const KEY_LIFETIME_MS = 23 * 3600 * 1000;

export type Redo = (data: Json) => Operation[];

export interface Pending extends StoredCommand {
  /** Makes the operations anew on other data; null: they stay as they are. */
  redo: Redo | null;
  /** The version that it made, as soon as that is known. */
  doneAt: number | null;
  resolve(ack: Ack): void;
  reject(error: HandoffError): void;
}

export interface OutboxOptions {
  store: CommandStore;
  send(command: Command): Promise<Ack>;
  /** A command that was not sent is to leave: what it carries may be made anew. The position, when there is nothing left to do. */
  prepare(pending: Pending): Position | null;
  /** It took effect: true when the copy of the session shows it already, so that the pending one can go. */
  done(pending: Pending, ack: Ack): boolean;
  /** Refused for good; true: it was made anew, and is to be sent again. */
  refused(pending: Pending, error: HandoffError): boolean;
  changed(): void;
}

export class Outbox {
  /** In order; those at the front may be done, and wait for their event. */
  items: Pending[] = [];
  private isSending = false;
  private isOpen = false;
  private again: ReturnType<typeof setTimeout> | null = null;
  private readonly backoff = new Backoff();

  constructor(private readonly options: OutboxOptions) {}

  get nUnanswered(): number {
    return this.items.filter((pending) => pending.doneAt === null).length;
  }

  /** What an earlier page left behind; ahead of everything that was added since. */
  restore(stored: StoredCommand[]): void {
    const known = new Set(this.items.map((pending) => pending.command.key));
    const old = stored.filter((s) => !known.has(s.command.key));
    const ignore = () => undefined;
    const restored = old.map((s): Pending => ({ ...s, redo: null, doneAt: null, resolve: ignore, reject: ignore }));
    this.items = [...restored, ...this.items];
    this.options.changed();
    void this.pump();
  }

  add(command: Command, redo: Redo | null): Promise<Ack> {
    const answer = new Promise<Ack>((resolve, reject) => {
      const pending = { command, createdAt: Date.now(), isSent: false, redo, doneAt: null, resolve, reject };
      this.items.push(pending);
      void this.keep(pending);
    });
    this.options.changed();
    void this.pump();
    return answer;
  }

  /** Whether commands may leave now. */
  setOpen(isOpen: boolean): void {
    this.isOpen = isOpen;
    if (isOpen) {
      this.backoff.reset();
      clearTimeout(this.again ?? undefined);
      void this.pump();
    }
  }

  /** Those that are done at this version or before it go: their event was taken. */
  settle(version: number): void {
    this.items = this.items.filter((pending) => pending.doneAt === null || pending.doneAt > version);
  }

  /** Nothing is sent any more. */
  fail(error: HandoffError): void {
    const items = this.items;
    this.items = [];
    for (const pending of items) {
      if (pending.doneAt === null) {
        void this.forget(pending);
        pending.reject(error);
      }
    }
    this.options.changed();
  }

  close(): void {
    this.isOpen = false;
    clearTimeout(this.again ?? undefined);
  }

  /* A store that fails keeps nobody from working. */
  private async keep({ command, createdAt, isSent }: Pending): Promise<void> {
    await this.options.store.put({ command, createdAt, isSent }).catch((error) => console.error(error));
  }

  private async forget(pending: Pending): Promise<void> {
    await this.options.store.remove(pending.command.key).catch((error) => console.error(error));
  }

  private drop(pending: Pending): void {
    this.items = this.items.filter((other) => other !== pending);
  }

  private async pump(): Promise<void> {
    if (this.isSending) {
      return;
    }
    this.isSending = true;
    try {
      for (let next; this.isOpen && (next = this.items.find((pending) => pending.doneAt === null)); ) {
        if (!(await this.sendOne(next))) {
          break;
        }
      }
    } finally {
      this.isSending = false;
    }
  }

  /* False: not now. */
  private async sendOne(pending: Pending): Promise<boolean> {
    if (pending.isSent && Date.now() - pending.createdAt > KEY_LIFETIME_MS) {
      await this.settleRefused(pending, new HandoffError({ code: "key_expired", detail: "nobody can say any more whether it took effect" }));
      return true;
    }
    try {
      const position = pending.isSent ? null : this.options.prepare(pending);
      if (position) {
        await this.settleDone(pending, position);
        return true;
      }
      pending.isSent = true;
      await this.keep(pending);
      const ack = await this.options.send(pending.command);
      await this.settleDone(pending, ack);
      return true;
    } catch (error) {
      const known = error instanceof HandoffError ? error : new HandoffError({ code: "internal", detail: String(error) });
      if (isTemporary(known)) {
        this.later(known.problem.retryAfterMs);
        return false;
      }
      await this.settleRefused(pending, known);
      return true;
    }
  }

  private later(ms: number | undefined): void {
    clearTimeout(this.again ?? undefined);
    this.again = setTimeout(() => void this.pump(), ms ?? this.backoff.next());
  }

  private async settleDone(pending: Pending, ack: Ack): Promise<void> {
    this.backoff.reset();
    pending.doneAt = ack.version;
    if (this.options.done(pending, ack)) {
      this.drop(pending);
    }
    await this.forget(pending);
    pending.resolve(ack);
    this.options.changed();
  }

  private async settleRefused(pending: Pending, error: HandoffError): Promise<void> {
    if (this.options.refused(pending, error)) {
      pending.isSent = false; // a refused request may be changed, and sent again with its key
      return;
    }
    this.drop(pending);
    await this.forget(pending);
    pending.reject(error);
    this.options.changed();
  }
}
