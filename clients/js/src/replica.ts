/** A copy of a session as the server tells it, event by event (docs/PROTOCOL.md, Events). Pure: no connection, no time. */

import { canonical, Json } from "./json.js";
import { apply } from "./patch.js";
import { Event, isVersioned, Position, SessionResource } from "./protocol.js";
import type { EventStateDelta, EventStatusChanged } from "./schemas.js";
import { sha256 } from "./sha256.js";

export type Taken =
  | "applied"
  | "old" // seen already
  | "gap" // something before it is missing, or it is of another epoch
  | "drift"; // the checksum differs: the copy cannot be trusted

const FINAL: readonly string[] = ["completed", "cancelled", "expired"];

export function isBefore(a: Position, b: Position): boolean {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.version < b.version);
}

/** Of `data`, as the server makes it. */
export function checksumOf(data: Json): string {
  return sha256(canonical(data));
}

function withDelta(s: SessionResource, e: EventStateDelta): SessionResource {
  const { data, name } = s;
  const changed = apply({ data, name }, e.operations) as { data: Json; name: string };
  return { ...s, ...changed, checksum: e.checksum, lastModified: e.timestamp, modifiedBy: e.deviceId ?? s.modifiedBy };
}

function withStatus(s: SessionResource, e: EventStatusChanged): SessionResource {
  const { to: status, activeDeviceId, timestamp } = e;
  return { ...s, status, activeDeviceId, completedAt: FINAL.includes(status) ? timestamp : s.completedAt };
}

function withoutVersion(s: SessionResource, e: Event): SessionResource {
  switch (e.type) {
    case "session_created":
      return e.session;
    case "state_delta":
      return withDelta(s, e);
    case "status_changed":
      return withStatus(s, e);
    default:
      return s;
  }
}

export class Replica {
  /** null: nothing was told yet. Never changed, only replaced. */
  session: SessionResource | null = null;

  get position(): Position | null {
    return this.session && { epoch: this.session.epoch, version: this.session.version };
  }

  /** Whether the copy is what its checksum says. */
  isSound(): boolean {
    return this.session !== null && checksumOf(this.session.data) === this.session.checksum;
  }

  /** A whole session, which may be older than what is here (an answer that was long on its way). */
  replace(session: SessionResource): boolean {
    if (this.session && isBefore(session, this.session)) {
      return false;
    }
    this.session = session;
    return true;
  }

  take(e: Event): Taken {
    const s = this.session;
    if (!s || e.epoch > s.epoch) {
      return "gap";
    }
    if (e.epoch < s.epoch || e.version <= s.version || !isVersioned(e.type)) {
      return "old";
    }
    if (e.version > s.version + 1) {
      return "gap";
    }
    let next: SessionResource;
    try {
      next = withoutVersion(s, e);
    } catch {
      return "drift";
    }
    const clock = "clock" in e && e.clock ? { clock: e.clock } : {};
    this.session = { ...next, ...clock, version: e.version, updatedAt: e.timestamp };
    return e.type === "state_delta" && !this.isSound() ? "drift" : "applied";
  }
}
