/** What goes over the wire (docs/PROTOCOL.md, proto/schemas). */

import type { Json } from "./json.js";
import type { Operation } from "./patch.js";
import type { Problem } from "./errors.js";

export type Status = "pending" | "active" | "paused" | "completed" | "cancelled" | "expired";
export type Role = "owner" | "editor" | "viewer";

/** A version is of an epoch: another epoch begins when a session had to be put together again after a loss. */
export interface Position {
  epoch: number;
  version: number;
}

export interface ClockParticipant {
  participantId: string;
  groupId: string | null;
  totalTimeMs: number | null;
  timeUsedMs: number;
  timeRemainingMs: number | null;
  cycleCount: number;
  isActive: boolean;
  hasExpired: boolean;
}

export interface Clock {
  mode: "per_participant" | "per_cycle" | "per_group" | "global" | "count_up";
  totalTimeMs: number | null;
  incrementMs: number | null;
  timePerCycleMs: number | null;
  maxTimeMs: number | null;
  onTimeout: { action: "end_session" | "skip" | "auto_switch" | "notify" };
  warningsMs: number[];
  participants: ClockParticipant[];
  activeParticipantId: string | null;
  cycleStartedAt: string | null;
  cycleCount: number;
}

export interface SessionResource<T = Json> extends Position {
  id: string;
  userId: string;
  name: string;
  type: string;
  status: Status;
  role: Role;
  createdAt: string;
  updatedAt: string;
  completedAt: string | null;
  ttlSeconds: number;
  onIdle: "pause" | "expire";
  expiresAt: string | null;
  activeDeviceId: string | null;
  lastModified: string;
  modifiedBy: string | null;
  data: T;
  checksum: string;
  clock?: Clock;
}

/** What happened. New types and members may come: ignore what you do not know. */
export interface Event extends Position {
  type: string;
  sessionId: string;
  timestamp: string;
  userId: string;
  deviceId: string | null;
  operations?: Operation[];
  checksum?: string;
  session?: SessionResource;
  to?: string;
  activeDeviceId?: string | null;
  reason?: string;
  participant?: string;
  role?: Role | null;
  device?: string;
  removed?: boolean;
  name?: string | null;
  platform?: string | null;
  deviceCount?: number;
  message?: Json;
  participantId?: string;
  remainingMs?: number;
  clock?: Clock;
}

/** A frame from the server: an event, or one of these. */
export interface Frame extends Partial<Event>, Partial<Problem> {
  type: string;
  id?: string;
  connectionId?: string;
  serverTime?: string;
  maxMessageBytes?: number;
  replayed?: boolean | number;
  rebased?: boolean;
  joined?: string[];
  left?: string[];
  expiresAt?: string;
}

/** A command took effect. */
export interface Ack extends Position {
  checksum?: string;
  rebased?: boolean;
  /** It had taken effect before, under the same key. */
  replayed?: boolean;
}

/** What a device asks for; `key` makes it take effect once, however often it is sent. */
export type Command =
  | { type: "patch"; sessionId: string; key: string; operations: Operation[]; baseVersion?: number; epoch?: number; merge?: "disjoint" }
  | { type: "status"; sessionId: string; key: string; status: Status }
  | {
      type: "switch";
      sessionId: string;
      key: string;
      currentParticipantId?: string;
      nextParticipantId?: string;
      baseVersion?: number;
      epoch?: number;
    };

const VERSIONED = new Set([
  "session_created", "state_delta", "status_changed", "session_deleted", "participant_changed", "device_changed",
  "clock_set", "clock_switched", "clock_adjusted", "clock_expired",
]);

/** Whether the event is a version more. */
export function isVersioned(type: string): boolean {
  return VERSIONED.has(type);
}
