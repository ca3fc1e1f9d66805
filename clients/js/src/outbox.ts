/**
 * A session's commands that have no answer yet: kept in the store before they leave, sent one after the other, again after a lost
 * connection with the same keys, taken out when they are answered. So each takes effect once, in order, or its promise says why not.
 */

import { Backoff } from "./backoff.js";
import { HandoffError } from "./errors.js";
import type { Json } from "./json.js";
import type { Operation } from "./patch.js";
import type { Ack, Command, Position } from "./protocol.js";
import { isBefore } from "./replica.js";
import { isTemporary } from "./socket.js";
import type { CommandStore, StoredCommand } from "./store.js";

/** The server remembers a key for 24 h: a command that was sent before could take effect a second time. */
const KEY_LIFETIME_MS = 23 * 3600 * 1000;
/** So many commands of a session may wait: who is offline for long is told, before the memory and the store are full. */
const MOST_UNANSWERED = 1000;
/** It is the token that was refused, not the command. */
const TOKEN_CODES = new Set(["unauthenticated", "token_expired", "no_token"]);

export type Redo = (data: Json) => Operation[];

export interface Pending extends StoredCommand {
  /** Makes the operations anew on other data; null: they stay as they are. */
  redo: Redo | null;
  /** Where it took effect, as soon as that is known. */
  doneAt: Position | null;
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
  /** In order; one that is done waits for its event, and those behind it for that: they were made on what it made. */
  items: Pending[] = [];
  private isSending = false;
  private isOpen = false;
  private again: ReturnType<typeof setTimeout> | null = null;
  private readonly backoff = new Backoff();

  constructor(private readonly options: OutboxOptions) {}

  get nUnanswered(): number {
    return this.items.filter((pending) => pending.doneAt === null).length;
  }

  get isFull(): boolean {
    return this.nUnanswered >= MOST_UNANSWERED;
  }

  /** What an earlier page left behind, or another one that has gone. */
  restore(stored: StoredCommand[]): void {
    const known = new Set(this.items.map((pending) => pending.command.key));
    const old = stored.filter((s) => !known.has(s.command.key));
    const ignore = () => undefined;
    const restored = old.map((s): Pending => ({ ...s, redo: null, doneAt: null, resolve: ignore, reject: ignore }));
    this.items = [...this.items, ...restored];
    this.options.changed();
    void this.pump();
  }

  /** Rejects with `outbox_full`: then nothing was added. */
  add(command: Command, redo: Redo | null): Promise<Ack> {
    if (this.isFull) {
      return Promise.reject(new HandoffError({ code: "outbox_full", detail: `${MOST_UNANSWERED} changes wait to be sent`, temporary: true }));
    }
    const answer = new Promise<Ack>((resolve, reject) => {
      // each has a moment of its own: the store keeps them in that order
      const createdAt = Math.max(Date.now(), (this.items[this.items.length - 1]?.createdAt ?? 0) + 1);
      const pending = { command, createdAt, sentAt: null, redo, doneAt: null, resolve, reject };
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
      this.stopWaiting();
      void this.pump();
    }
  }

  /** Those that are done there or before it go: their event was taken. */
  settle(position: Position): void {
    this.items = this.items.filter((pending) => pending.doneAt === null || isBefore(position, pending.doneAt));
    void this.pump();
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
    this.stopWaiting();
  }

  private stopWaiting(): void {
    clearTimeout(this.again ?? undefined);
    this.again = null;
  }

  /* A store that fails keeps nobody from working. */
  private async keep({ command, createdAt, sentAt }: Pending): Promise<void> {
    await this.options.store.put({ command, createdAt, sentAt }).catch((error) => console.error(error));
  }

  private async forget(pending: Pending): Promise<void> {
    await this.options.store.remove(pending.command.key).catch((error) => console.error(error));
  }

  private drop(pending: Pending): void {
    this.items = this.items.filter((other) => other !== pending);
  }

  private async pump(): Promise<void> {
    if (this.isSending || this.again) {
      return;
    }
    this.isSending = true;
    try {
      for (let next; this.isOpen && (next = this.items[0]) && next.doneAt === null; ) {
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
    if (pending.sentAt !== null && Date.now() - pending.sentAt > KEY_LIFETIME_MS) {
      await this.settleRefused(pending, new HandoffError({ code: "key_expired", detail: "nobody can say any more whether it took effect" }));
      return true;
    }
    try {
      const position = pending.sentAt === null ? this.options.prepare(pending) : null;
      if (position) {
        await this.settleDone(pending, position);
        return true;
      }
      if (pending.sentAt === null) {
        pending.sentAt = Date.now();
        await this.keep(pending);
      }
      const ack = await this.options.send(pending.command);
      await this.settleDone(pending, ack);
      return true;
    } catch (error) {
      const known = error instanceof HandoffError ? error : new HandoffError({ code: "internal", detail: String(error) });
      if (isTemporary(known) || TOKEN_CODES.has(known.code)) {
        this.later(known.problem.retryAfterMs);
        return false;
      }
      await this.settleRefused(pending, known);
      return true;
    }
  }

  /* When it is not open: as soon as it is again. */
  private later(ms: number | undefined): void {
    this.stopWaiting();
    if (this.isOpen) {
      this.again = setTimeout(() => {
        this.again = null;
        void this.pump();
      }, ms ?? this.backoff.next());
    }
  }

  private async settleDone(pending: Pending, ack: Ack): Promise<void> {
    this.backoff.reset();
    pending.doneAt = { epoch: ack.epoch, version: ack.version };
    if (this.options.done(pending, ack)) {
      this.drop(pending);
    }
    await this.forget(pending);
    pending.resolve(ack);
    this.options.changed();
  }

  private async settleRefused(pending: Pending, error: HandoffError): Promise<void> {
    pending.sentAt = null; // a refused request may be changed, and sent again with its key
    if (this.options.refused(pending, error)) {
      return;
    }
    this.drop(pending);
    await this.forget(pending);
    pending.reject(error);
    this.options.changed();
  }
}
