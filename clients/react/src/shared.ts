/**
 * Sessions that components share: opened when the first one looks, closed a moment after the last one stopped. A moment, since StrictMode
 * and a change of pages take a component away and bring the next one at once.
 */

import type { Handoff, HandoffError, Session } from "@handoff/client";

const LINGER_MS = 1000;

/** Of a session, as components see it; another object with each change. */
export interface View {
  session: Session | null;
  error: HandoffError | null;
}

const NOTHING: View = { session: null, error: null };

export class Shared {
  view: View = NOTHING;
  private readonly listeners = new Set<() => void>();
  private leaving: ReturnType<typeof setTimeout> | null = null;
  private isOpen = false;
  /** Resolves when the session is there. */
  session: Promise<Session> = Promise.reject(new Error("not opened"));

  constructor(private readonly handoff: Handoff, private readonly id: string, private readonly all: Map<string, Shared>) {
    this.session.catch(() => undefined);
  }

  subscribe(changed: () => void): () => void {
    clearTimeout(this.leaving ?? undefined);
    this.listeners.add(changed);
    if (!this.isOpen) {
      this.all.set(this.id, this);
      this.open();
    }
    return () => {
      this.listeners.delete(changed);
      if (this.listeners.size === 0) {
        this.leaving = setTimeout(() => this.close(), LINGER_MS);
      }
    };
  }

  private tell(view: View): void {
    this.view = view;
    for (const changed of [...this.listeners]) {
      changed();
    }
  }

  private open(): void {
    this.isOpen = true;
    const opening = (this.session = this.handoff.open(this.id));
    opening.then(
      (session) => this.take(opening, session),
      (error: HandoffError) => this.session === opening && this.isOpen && this.tell({ session: null, error }),
    );
  }

  private take(opening: Promise<Session>, session: Session): void {
    if (this.session !== opening || !this.isOpen) {
      return; // closed, and perhaps opened again, meanwhile
    }
    const again = () => this.tell({ session, error: this.view.error });
    session.on("change", again);
    session.on("state", again);
    session.on("lost", ({ code, reason }) => this.tell({ session, error: Object.assign(new Error(reason), { code }) as HandoffError }));
    this.tell({ session, error: null });
  }

  private close(): void {
    this.isOpen = false;
    this.all.delete(this.id);
    this.view = NOTHING;
    const opening = this.session; // which may go on for long, without a network
    opening.then((session) => this.session === opening && !this.isOpen && session.close(), () => undefined);
  }
}

const all = new WeakMap<Handoff, Map<string, Shared>>();

export function shared(handoff: Handoff, id: string): Shared {
  const sessions = all.get(handoff) ?? new Map<string, Shared>();
  all.set(handoff, sessions);
  const found = sessions.get(id) ?? new Shared(handoff, id, sessions);
  sessions.set(id, found);
  return found;
}
