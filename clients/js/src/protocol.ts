/** What goes over the wire (docs/PROTOCOL.md), from the types that are made from proto/schemas. */

import type { Json } from "./json.js";
import type * as wire from "./schemas.js";

export type { Clock, Operation, Role, Status } from "./schemas.js";
export type ClockParticipant = wire.Clock["participants"][number];
export type Device = wire.ResponseDevices["items"][number];
/** A version is of an epoch: another epoch begins when a session had to be put together again after a loss. */
export type Position = wire.Position;
export type SessionResource<T = Json> = Omit<wire.Session, "data"> & { data: T };
export type SessionSummary = wire.SessionSummary;
export type NewSession<T extends Json = Json> = Omit<wire.RequestCreate, "data"> & { data?: T };
export type Code = wire.Code;

/** What happened. New types and members may come: ignore what you do not know. */
export type Event =
  | wire.Delta
  | wire.EventSessionRebuilt
  | wire.EventDeviceJoined
  | wire.EventDeviceLeft
  | wire.EventBroadcast
  | wire.EventClockWarning;

export type Hello = wire.WsHello;
/** What a connection answers when it does what it was asked for. */
export type Answer = wire.WsHello | wire.WsStateSync | wire.WsSubscribed | wire.WsAck;
/** A frame from the server. */
export type Frame = Event | Answer | wire.WsError | wire.WsUnsubscribed | wire.WsPresence | wire.WsTokenExpiring | wire.WsPong;

/** A command took effect. `replayed`: it had before, under the same key. */
export type Ack = Position & Partial<Pick<wire.WsAck, "checksum" | "rebased" | "replayed">>;

/** What a device asks for; `key` makes it take effect once, however often it is sent. */
type Keyed<T extends { key?: string }> = Omit<T, "id" | "key"> & { key: string };
export type Command = Keyed<wire.WsPatch> | Keyed<wire.WsStatus> | Keyed<wire.WsSwitch>;

const VERSIONED: Record<wire.Delta["type"], true> = {
  session_created: true,
  state_delta: true,
  status_changed: true,
  session_deleted: true,
  participant_changed: true,
  device_changed: true,
  clock_set: true,
  clock_switched: true,
  clock_adjusted: true,
  clock_expired: true,
};

/** Whether the event is a version more. */
export function isVersioned(type: string): boolean {
  return type in VERSIONED;
}
