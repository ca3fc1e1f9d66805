/** Where commands are kept until they are answered, so that a lost connection or a closed tab loses none. */

import type { Command } from "./protocol.js";

export interface StoredCommand {
  command: Command;
  /** Of the device's clock, ms. */
  createdAt: number;
  /** It may have taken effect. Then it is only ever sent again as it was. */
  isSent: boolean;
}

/** Keyed by `command.key`. */
export interface CommandStore {
  /** Of a session, in the order in which they were first put. */
  load(sessionId: string): Promise<StoredCommand[]>;
  put(stored: StoredCommand): Promise<void>;
  remove(key: string): Promise<void>;
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
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error ?? new Error("IndexedDB does not open"));
    });
    return this.database;
  }

  async load(sessionId: string): Promise<StoredCommand[]> {
    const transaction = (await this.open()).transaction(COMMANDS);
    const range = IDBKeyRange.bound([sessionId, -Infinity], [sessionId, Infinity]);
    const request = transaction.objectStore(COMMANDS).index("session").getAll(range);
    await finished(transaction);
    return request.result as StoredCommand[];
  }

  async put(stored: StoredCommand): Promise<void> {
    const transaction = (await this.open()).transaction(COMMANDS, "readwrite");
    transaction.objectStore(COMMANDS).put(stored);
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
