/** Where commands are kept until they are answered, so that a lost connection or a closed tab loses none. */

import { randomId } from "./options.js";
import type { Command } from "./protocol.js";

export interface StoredCommand {
  command: Command;
  /** Of the device's clock, ms; no two of a session's have the same. */
  createdAt: number;
  /** When it was sent first: it may have taken effect, and is only ever sent again as it was. null: it was not. */
  sentAt: number | null;
}

/** Keyed by `command.key`. */
export interface CommandStore {
  /** Of a session, in the order of `createdAt`; they are the caller's to send, from now on. */
  load(sessionId: string): Promise<StoredCommand[]>;
  put(stored: StoredCommand): Promise<void>;
  remove(key: string): Promise<void>;
  /** For a store that pages share: calls back when there may be more to load, since a page has gone. Returns what ends it. */
  watch?(sessionId: string, abandoned: () => void): () => void;
}

export class MemoryStore implements CommandStore {
  private readonly commands = new Map<string, StoredCommand>();

  load(sessionId: string): Promise<StoredCommand[]> {
    return Promise.resolve([...this.commands.values()].filter((s) => s.command.sessionId === sessionId));
  }

  put(stored: StoredCommand): Promise<void> {
    this.commands.set(stored.command.key, stored);
    return Promise.resolve();
  }

  remove(key: string): Promise<void> {
    this.commands.delete(key);
    return Promise.resolve();
  }
}

const COMMANDS = "commands";

function finished(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = transaction.onerror = () => reject(transaction.error ?? new Error("IndexedDB gave up"));
  });
}

type Owned = StoredCommand & { page?: string };

/*
 * Pages share the store, and each sends its own commands only, made anew on what it knows: two that sent the same one could make
 * different things of it. A page holds a lock as long as it lives; what belongs to a page without one is anybody's.
 */
class Page {
  readonly id = randomId();
  private readonly gone = new Set<() => void>();
  private readonly held: Promise<void>;

  constructor(private readonly locks: LockManager) {
    this.held = new Promise((resolve) => {
      void locks.request(LOCK + this.id, () => (resolve(), new Promise(() => undefined)));
    });
    void this.meet();
  }

  /* The pages that are there; those that come later say so. */
  private async meet(): Promise<void> {
    const channel = new BroadcastChannel(LOCK);
    channel.onmessage = ({ data }) => this.outlive(data as string);
    await this.held;
    channel.postMessage(this.id);
    (await this.living()).forEach((id) => this.outlive(id));
  }

  private outlive(id: string): void {
    if (id !== this.id) {
      void this.locks.request(LOCK + id, () => this.gone.forEach((tell) => tell()));
    }
  }

  private async living(): Promise<string[]> {
    const { held } = await this.locks.query();
    return (held ?? []).flatMap(({ name }) => (name?.startsWith(LOCK) ? [name.slice(LOCK.length)] : []));
  }

  /** One page after the other, with those that live. */
  async claim<T>(work: (living: string[]) => Promise<T>): Promise<T> {
    await this.held;
    return (await this.locks.request("handoff", async () => work(await this.living()))) as T;
  }

  onGone(tell: () => void): () => void {
    this.gone.add(tell);
    return () => this.gone.delete(tell);
  }
}

const LOCK = "handoff:";
let here: Page | null = null;

/* null: the browser has no locks (or the page is not of a secure origin); then what is in the store is everybody's. */
function thisPage(): Page | null {
  return (here ??= globalThis.navigator?.locks && typeof BroadcastChannel !== "undefined" ? new Page(navigator.locks) : null);
}

export class IndexedDbStore implements CommandStore {
  private database: Promise<IDBDatabase> | null = null;

  constructor(private readonly name = "handoff") {}

  private open(): Promise<IDBDatabase> {
    this.database ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(this.name, 1);
      request.onupgradeneeded = () => {
        const commands = request.result.createObjectStore(COMMANDS, { keyPath: "command.key" });
        commands.createIndex("session", ["command.sessionId", "createdAt"]);
      };
      request.onsuccess = () => {
        const again = () => void (this.database = null); // it is opened again when it is needed
        request.result.onclose = again;
        request.result.onversionchange = () => (request.result.close(), again());
        resolve(request.result);
      };
      request.onerror = () => {
        this.database = null;
        reject(request.error ?? new Error("IndexedDB does not open"));
      };
    });
    return this.database;
  }

  load(sessionId: string): Promise<StoredCommand[]> {
    const page = thisPage();
    return page ? page.claim((living) => this.take(sessionId, living.filter((id) => id !== page.id))) : this.take(sessionId, []);
  }

  /* All but those of others. */
  private async take(sessionId: string, others: string[]): Promise<StoredCommand[]> {
    const transaction = (await this.open()).transaction(COMMANDS, "readwrite");
    const commands = transaction.objectStore(COMMANDS);
    const range = IDBKeyRange.bound([sessionId, -Infinity], [sessionId, Infinity]);
    const request: IDBRequest<Owned[]> = commands.index("session").getAll(range);
    let taken: Owned[] = [];
    request.onsuccess = () => {
      taken = request.result.filter(({ page }) => !page || !others.includes(page));
      taken.forEach((stored) => commands.put({ ...stored, page: here?.id }));
    };
    await finished(transaction);
    return taken;
  }

  watch(_sessionId: string, abandoned: () => void): () => void {
    return thisPage()?.onGone(abandoned) ?? (() => undefined);
  }

  async put(stored: StoredCommand): Promise<void> {
    const transaction = (await this.open()).transaction(COMMANDS, "readwrite");
    transaction.objectStore(COMMANDS).put({ ...stored, page: thisPage()?.id });
    await finished(transaction);
  }

  async remove(key: string): Promise<void> {
    const transaction = (await this.open()).transaction(COMMANDS, "readwrite");
    transaction.objectStore(COMMANDS).delete(key);
    await finished(transaction);
  }
}

export function defaultStore(): CommandStore {
  return typeof indexedDB === "undefined" ? new MemoryStore() : new IndexedDbStore();
}
