/** Handoff sessions as React hooks. The `Handoff` is made outside of React, once, and so is its connection. */

import type { Ack, Device, Handoff, HandoffError, Json, Operation, PatchOptions, Session, SyncStatus } from "@handoff/client";
import type { ReactElement, ReactNode } from "react";
import { createContext, createElement, useCallback, useContext, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { shared, View } from "./shared.js";

const HandoffContext = createContext<Handoff | null>(null);

/** What is below it finds its Handoff here. */
export function HandoffProvider(props: { handoff: Handoff; children?: ReactNode }): ReactElement {
  return createElement(HandoffContext.Provider, { value: props.handoff }, props.children);
}

export function useHandoff(): Handoff {
  const handoff = useContext(HandoffContext);
  if (!handoff) {
    throw new Error("there is no HandoffProvider above");
  }
  return handoff;
}

const dataOf = (session: Session) => session.data as unknown;

export interface SessionState<R> {
  /** undefined until the session was told. */
  data: R | undefined;
  session: Session | null;
  /** Why there is none, or none any more. */
  error: HandoffError | null;
}

/* The same object as before when nothing of it is another: then React does not render again. */
function stateOf<R>(view: View, select: (session: Session) => R, before: SessionState<R> | undefined): SessionState<R> {
  const { session, error } = view;
  const data = session ? select(session) : undefined;
  const isSame = before && Object.is(before.data, data) && before.session === session && before.error === error;
  return isSame ? before : { data, session, error };
}

/** The session, and of it what the selector takes: its `data`, without one. Renders again when that becomes another value. */
export function useSession<R = Json>(id: string, selector?: (session: Session) => R): SessionState<R> {
  const entry = shared(useHandoff(), id);
  const select = (selector ?? dataOf) as (session: Session) => R;
  const last = useRef<{ view: View; select: unknown; state: SessionState<R> } | null>(null);
  const subscribe = useCallback((changed: () => void) => entry.subscribe(changed), [entry]);
  const get = () => {
    if (!last.current || last.current.view !== entry.view || last.current.select !== select) {
      last.current = { view: entry.view, select, state: stateOf(entry.view, select, last.current?.state) };
    }
    return last.current.state;
  };
  return useSyncExternalStore(subscribe, get, get);
}

export type Patch<T extends Json> = (change: Operation[] | ((data: T) => T | void), options?: PatchOptions) => Promise<Ack>;

/** `session.patch`, which waits for the session when it is not there yet. It stays the same function. */
export function usePatch<T extends Json = Json>(id: string): Patch<T> {
  const handoff = useHandoff();
  const entry = shared(handoff, id);
  useEffect(() => entry.subscribe(() => undefined), [entry]); // a component may patch what it does not show
  return useCallback<Patch<T>>(
    async (change, options) => ((await entry.session) as unknown as Session<T>).patch(change, options),
    [entry],
  );
}

/** The session's devices, asked for anew when one comes or goes, or another becomes active. */
export function useDevices(id: string): Device[] {
  const { session, data: active } = useSession(id, activeOf);
  const [told, setTold] = useState<{ session: Session | null; items: Device[] }>({ session: null, items: NOBODY });
  useEffect(() => {
    if (!session) {
      return undefined;
    }
    let n = 0; // answers may come in another order
    const ask = () => {
      const asked = ++n;
      session.devices().then(
        ({ items }) => asked === n && setTold({ session, items }),
        () => undefined, // the next change asks again
      );
    };
    ask();
    const off = session.on("devices", ask);
    return () => {
      n++;
      off();
    };
  }, [session, active]);
  return told.session === session ? told.items : NOBODY;
}

const NOBODY: Device[] = [];
const activeOf = (session: Session) => session.activeDeviceId;
const syncOf = (session: Session) => session.sync;
const CONNECTING: SyncStatus = { state: "connecting", unsent: 0 };

/** Whether this device is in sync, and how many of its changes have no answer yet. */
export function useSyncStatus(id: string): SyncStatus {
  return useSession(id, syncOf).data ?? CONNECTING;
}
