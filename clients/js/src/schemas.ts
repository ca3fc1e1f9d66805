/** What goes over the wire. Made by tools/schema-types from proto/schemas: change it there. */

import type { Json } from "./json.js";

/** As it was at the last change: while a turn runs, the active participant's time is less (of count_up: used more) by now - cycleStartedAt. */
export type Clock = {
  mode: ClockMode;
  totalTimeMs: ClockTime | null;
  incrementMs: IncrementMs | null;
  timePerCycleMs: ClockTime | null;
  maxTimeMs: ClockTime | null;
  onTimeout: OnTimeout;
  warningsMs: WarningsMs;
  /** In the order of their turns. */
  participants: ({
    participantId: ParticipantId;
    groupId: ParticipantId | null;
    /** What the participant's time began with. */
    totalTimeMs: ClockTime | null;
    /** Booked: without what runs now. */
    timeUsedMs: number;
    /** Booked: without what runs now. Shared time is shown at each who shares it; null: it has no end. */
    timeRemainingMs: number | null;
    /** Turns that have ended. */
    cycleCount: number;
    /** It is this participant's turn. */
    isActive: boolean;
    /** This participant's time was over. */
    hasExpired: boolean;
  })[];
  activeParticipantId: ParticipantId | null;
  /** Since when the active participant's time runs; null: it stands. */
  cycleStartedAt: Moment | null;
  /** Turns that have ended. */
  cycleCount: number;
};

/** The body of a message on the exchange session_updates; what else is in it depends on its type. */
export type Event = {
  type: "session_created" | "state_delta" | "status_changed" | "session_deleted" | "snapshot" | "participant_changed" | "device_changed" | "session_rebuilt" | "device_joined" | "device_left" | "broadcast" | "clock_set" | "clock_switched" | "clock_adjusted" | "clock_expired" | "clock_warning";
  sessionId: Uuid;
  epoch: Count;
  version: Count;
  timestamp: Moment;
  userId: Uuid;
  /** Who caused it; null: the engine did. */
  deviceId: DeviceId | null;
};

/** Event: what a device tells the others; not kept */
export type EventBroadcast = Omit<Event, "type" | "deviceId"> & {
  type: "broadcast";
  deviceId: DeviceId;
  message: Json;
};

/** Event: a participant was given time, or lost some */
export type EventClockAdjusted = Omit<Event, "type"> & {
  type: "clock_adjusted";
  participantId: ParticipantId;
  adjustMs: AdjustMs;
  reason: Reason;
  clock: Clock;
};

/** Event: time is up */
export type EventClockExpired = Omit<Event, "type" | "deviceId"> & {
  type: "clock_expired";
  /** The engine tells it. */
  deviceId: null;
  /** Whose time it was. */
  participantId?: ParticipantId;
  /** Whose time it was, where a group shares it. */
  groupId?: ParticipantId;
  /** What is done; end_session also when nobody was left. */
  action: ClockAction;
  /** The other side, when there are two and the session ends: its group where all have groups, else its participant. */
  winner?: ParticipantId;
  clock: Clock;
};

/** Event: the session was given a clock */
export type EventClockSet = Omit<Event, "type"> & {
  type: "clock_set";
  clock: Clock;
};

/** Event: a turn ended, the next began */
export type EventClockSwitched = Omit<Event, "type"> & {
  type: "clock_switched";
  from: ParticipantId;
  to: ParticipantId;
  /** How long the turn took. */
  elapsedMs: number;
  clock: Clock;
};

/** Event: time is running out */
export type EventClockWarning = Omit<Event, "type" | "deviceId"> & {
  type: "clock_warning";
  /** The engine tells it. */
  deviceId: null;
  participantId: ParticipantId;
  /** One of the clock's warningsMs. */
  remainingMs: number;
};

/** Event: a device is kept out, or let in again */
export type EventDeviceChanged = Omit<Event, "type"> & {
  type: "device_changed";
  device: DeviceId;
  removed: boolean;
};

/** Event: a device joined */
export type EventDeviceJoined = Omit<Event, "type" | "deviceId"> & {
  type: "device_joined";
  deviceId: DeviceId;
  activeDeviceId: DeviceId | null;
  /** What the device calls itself; null: it did not say. */
  name: string | null;
  platform: string | null;
  /** Devices in the session after it. */
  deviceCount: number;
};

/** Event: a device left */
export type EventDeviceLeft = Omit<Event, "type" | "deviceId"> & {
  type: "device_left";
  deviceId: DeviceId;
  activeDeviceId: DeviceId | null;
  /** What the device calls itself; null: it did not say. */
  name: string | null;
  platform: string | null;
  /** Devices in the session after it. */
  deviceCount: number;
};

/** Event: a user was given a role, or lost it */
export type EventParticipantChanged = Omit<Event, "type"> & {
  type: "participant_changed";
  participant: Uuid;
  /** null: removed. */
  role: "editor" | "viewer" | null;
};

/** Event: a session was created */
export type EventSessionCreated = Omit<Event, "type"> & {
  type: "session_created";
  session: Session;
};

/** Event: the session was deleted */
export type EventSessionDeleted = Omit<Event, "type"> & {
  type: "session_deleted";
};

/** Redis had lost it, or held what cannot be. It goes on from this version, in this epoch: what was published of an earlier epoch and is newer than this position did not come to be. */
export type EventSessionRebuilt = Omit<Event, "type"> & {
  type: "session_rebuilt";
  /** Of the data that was put together. */
  checksum: Checksum;
};

/** Event: the whole data at a version; not sent to devices */
export type EventSnapshot = Omit<Event, "type"> & {
  type: "snapshot";
  data: Json;
  checksum: Checksum;
  /** Of one that a user asked for, if it was given one. */
  label?: Label;
};

/** Event: data or name changed */
export type EventStateDelta = Omit<Event, "type"> & {
  type: "state_delta";
  baseVersion: Count;
  operations: AcceptedOperations;
  checksum: Checksum;
  /** Applied to a newer version than the sender's base. */
  rebased?: true;
};

/** Event: the status changed */
export type EventStatusChanged = Omit<Event, "type"> & {
  type: "status_changed";
  from: Status;
  to: Status;
  activeDeviceId: DeviceId | null;
  reason: "request" | "takeover" | "idle" | "clock";
  /** Of a session that has one: as it is after the change. */
  clock?: Clock;
};

/** An error: application/problem+json (RFC 9457) */
export type Problem = {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: Code;
  requestId: string;
  /** May the same request succeed later? */
  temporary: boolean;
  /** The member, parameter or header at fault. */
  field?: string;
  /** Where in the session. */
  pointer?: string;
  /** Of the operation that failed. */
  index?: number;
  /** Of rate_limited: when it may be tried again. */
  retryAfterMs?: number;
  currentVersion?: Count;
  epoch?: Count;
  deltas?: Delta[];
  session?: Session;
};

/** The body of POST /sessions/{id}/clock/{participantId} */
export type RequestAdjust = {
  adjustMs: AdjustMs;
  reason: Reason;
};

/** Body of POST /sessions/{id}/broadcast */
export type RequestBroadcast = {
  message: Json;
  /** To the sender too. */
  echo?: boolean;
};

/** The body of PUT /sessions/{id}/clock, and `clock` of POST /sessions */
export type RequestClock = {
  mode: ClockMode;
  /** The modes per_participant, per_group and global need it, or every participant's own. */
  totalTimeMs?: ClockTime | null;
  incrementMs?: IncrementMs | null;
  /** Needed in the mode per_cycle. */
  timePerCycleMs?: ClockTime | null;
  /** Of the mode count_up: where it ends. */
  maxTimeMs?: ClockTime | null;
  /** Without: end_session. */
  onTimeout?: OnTimeout | null;
  warningsMs?: WarningsMs | null;
  /** In the order of their turns, each once. */
  participants: ({
    participantId: ParticipantId;
    groupId?: ParticipantId | null;
    /** Without: the clock's. */
    totalTimeMs?: ClockTime | null;
    /** Computed by the server; not looked at, so that a clock may be sent as it was read. */
    timeUsedMs?: Json;
    /** Computed by the server; not looked at, so that a clock may be sent as it was read. */
    timeRemainingMs?: Json;
    /** Computed by the server; not looked at, so that a clock may be sent as it was read. */
    cycleCount?: Json;
    /** Computed by the server; not looked at, so that a clock may be sent as it was read. */
    isActive?: Json;
    /** Computed by the server; not looked at, so that a clock may be sent as it was read. */
    hasExpired?: Json;
  })[];
  /** Computed by the server; not looked at, so that a clock may be sent as it was read. */
  activeParticipantId?: Json;
  /** Computed by the server; not looked at, so that a clock may be sent as it was read. */
  cycleStartedAt?: Json;
  /** Computed by the server; not looked at, so that a clock may be sent as it was read. */
  cycleCount?: Json;
};

/** The body of POST /sessions */
export type RequestCreate = {
  name: SessionName;
  type: SessionType;
  /** Any JSON value, at most 512 KiB in canonical form and 64 levels. */
  data?: Json;
  status?: FirstStatus;
  ttlSeconds?: TtlSeconds;
  onIdle?: OnIdle;
  clock?: RequestClock;
};

/** The body of POST /handoff */
export type RequestHandoff = {
  /** Whatever is none is answered as one that is wrong. */
  code: string;
  device?: {
    /** The device, when neither the token nor X-Device-Id names it; of who has no token, too. */
    id?: DeviceId;
    /** At most 255 bytes, no control characters. Checked only: a device tells it when it connects. */
    name?: string;
    /** At most 64 bytes, no control characters. As name. */
    platform?: string;
  };
};

/** The body of POST /sessions/{id}/handoff-codes */
export type RequestHandoffCode = {
  /** owner, or absent: for the caller's own account. */
  role?: Role;
  ttlSeconds?: number;
};

/** The body of PATCH /sessions/{id} as application/json-patch+json (RFC 6902) */
export type RequestJsonPatch = Operations;

/** The body of PATCH /sessions/{id} as application/merge-patch+json (RFC 7396) */
export type RequestMergePatch = MergePatch;

/** The body of PUT /sessions/{id}/participants/{userId} */
export type RequestParticipant = {
  role: "editor" | "viewer";
};

/** The body of PATCH /sessions/{id} as application/json */
export type RequestPatch = {
  baseVersion?: Count;
  epoch?: Count;
  operations: Operations;
  /** What the result must have. */
  checksum?: Checksum;
  merge?: Merge;
};

/** The body of POST /sessions/{id}/restore */
export type RequestRestore = {
  version: Count;
  /** By default the session's. */
  epoch?: Count;
};

/** The body of POST /sessions/{id}/snapshots */
export type RequestSnapshot = {
  label?: Label;
};

/** The body of POST /sessions/{id}/switch */
export type RequestSwitch = {
  /** Whose turn is next; without: the next in the order that has time left. */
  nextParticipantId?: ParticipantId;
  /** Whose turn it has to be: else 409 not_active_participant. */
  currentParticipantId?: ParticipantId;
};

/** A versioned event. */
export type Delta = EventSessionCreated | EventStateDelta | EventStatusChanged | EventSessionDeleted | EventParticipantChanged | EventDeviceChanged | EventClockSet | EventClockSwitched | EventClockAdjusted | EventClockExpired;

/** The answer to GET /sessions/{id}/deltas */
export type ResponseDeltas = {
  epoch: Count;
  /** Oldest first. */
  items: Delta[];
  /** false: what came after `since` is not all kept any more. */
  complete: boolean;
};

/** The answer to GET /sessions/{id}/devices */
export type ResponseDevices = {
  /** Connected ones first, then those seen last. */
  items: ({
    deviceId: DeviceId;
    /** Whose it was when it was seen last; null: it never was. */
    userId: Uuid | null;
    /** As it calls itself; null: it did not say. */
    name: string | null;
    platform: string | null;
    firstSeen: Moment | null;
    lastSeen: Moment | null;
    connected: boolean;
    /** It is the session's activeDeviceId. */
    active: boolean;
    /** It is kept out. */
    removed: boolean;
  })[];
};

/** The answer to POST /handoff: a session, and what who had no token goes on with */
export type ResponseHandoff = Session & {
  /** For this session and device alone. */
  token?: string;
  tokenExpiresAt?: Moment;
  deviceId?: DeviceId;
};

/** The answer to POST /sessions/{id}/handoff-codes */
export type ResponseHandoffCode = {
  code: HandoffCode;
  /** What the QR code says: HANDOFF_CODE_URL with the code. */
  url: string;
  expiresAt: Moment;
};

/** The answer to GET /health */
export type ResponseHealth = {
  status: "ok";
};

/** The answer to POST /sessions/{id}/heartbeat */
export type ResponseHeartbeat = {
  expiresAt: Moment | null;
  serverTime: Moment;
};

/** The answer to GET /sessions/{id}/history */
export type ResponseHistory = {
  /** Newest first, as published, but a snapshot without data. */
  items: Event[];
  /** null: no more. */
  nextCursor: string | null;
};

/** The answer to GET /.well-known/jwks.json: a JWK set (RFC 7517) */
export type ResponseKeys = {
  keys: ({
    kty: "EC";
    crv: "P-256";
    x: string;
    y: string;
    /** The thumbprint (RFC 7638) */
    kid: string;
    use: "sig";
    alg: "ES256";
  })[];
};

/** The answer to GET /sessions/{id}/participants */
export type ResponseParticipants = {
  /** The owner first. */
  items: ({
    userId: Uuid;
    role: Role;
  })[];
};

/** The answer to PATCH /sessions/{id} */
export type ResponsePatchResult = {
  id: Uuid;
  version: Count;
  baseVersion: Count;
  epoch: Count;
  checksum: Checksum;
  lastModified: Moment;
  rebased: boolean;
};

/** The answer to GET /ready */
export type ResponseReady = {
  /** 503 with starting and draining. */
  status: "ready" | "degraded" | "starting" | "draining";
  dependencies: { [name: string]: Json };
};

/** The answer to GET /sessions */
export type ResponseSessionList = {
  items: SessionSummary[];
  /** null: no more. */
  nextCursor: string | null;
};

/** The answer to GET /sessions/{id}/snapshots */
export type ResponseSnapshotList = {
  /** Newest first. */
  items: Snapshot[];
  /** null: no more. */
  nextCursor: string | null;
};

/** The answer to GET /time */
export type ResponseTime = {
  serverTime: Moment;
};

/** The answer to POST /sessions/{id}/token */
export type ResponseToken = {
  /** JWT in compact form (RFC 7515, 7519) */
  token: string;
  expiresAt: Moment;
};

/** The answer to GET /sessions/{id}/snapshots/{version} */
export type ResponseVersion = {
  sessionId: Uuid;
  version: Count;
  epoch: Count;
  data: Json;
  checksum: Checksum;
};

/** A session */
export type Session = {
  id: Uuid;
  userId: Uuid;
  name: SessionName;
  type: SessionType;
  status: Status;
  role: Role;
  version: Count;
  epoch: Count;
  createdAt: Moment;
  updatedAt: Moment;
  completedAt: Moment | null;
  ttlSeconds: TtlSeconds;
  onIdle: OnIdle;
  /** null: it has ended, or its clock runs. */
  expiresAt: Moment | null;
  activeDeviceId: DeviceId | null;
  lastModified: Moment;
  modifiedBy: DeviceId;
  /** Only of a session that has one. */
  clock?: Clock;
  data: Json;
  checksum: Checksum;
};

/** A session in a list: without data and clock */
export type SessionSummary = {
  id: Uuid;
  userId: Uuid;
  name: SessionName;
  type: SessionType;
  status: Status;
  role: Role;
  version: Count;
  epoch: Count;
  createdAt: Moment;
  updatedAt: Moment;
  completedAt: Moment | null;
  ttlSeconds: TtlSeconds;
  onIdle: OnIdle;
  /** null: it has ended, or its clock runs. */
  expiresAt: Moment | null;
  activeDeviceId: DeviceId | null;
  lastModified: Moment;
  modifiedBy: DeviceId;
  checksum: Checksum;
};

/** A snapshot that was kept */
export type Snapshot = {
  version: Count;
  epoch: Count;
  createdAt: Moment;
  checksum: Checksum;
  /** null: kept by itself, or without one. */
  label: Label | null;
};

/** A UUID in lower case. */
export type Uuid = string;

/** A UUID of version 7: its time says where the session's history is kept. */
export type NewSessionId = string;

export type DeviceId = string;

/** A place in a trace: W3C Trace Context. One that is none is ignored. */
export type Traceparent = string;

/** UTC, RFC 3339, milliseconds. */
export type Moment = string;

/** A whole number from 1 to 2^53 - 1. */
export type Count = number;

/** A version that is had; 0: none. */
export type Since = number;

/** Unix time. */
export type Milliseconds = number;

/** SHA-256 of `data` in canonical form (RFC 8785). */
export type Checksum = string;

export type SessionName = string;

export type SessionType = string;

/** A snapshot's. */
export type Label = string;

export type Status = "pending" | "active" | "paused" | "completed" | "cancelled" | "expired";

export type FirstStatus = "active" | "pending";

export type TargetStatus = "active" | "paused" | "completed" | "cancelled";

export type Role = "owner" | "editor" | "viewer";

export type OnIdle = "pause" | "expire";

export type TtlSeconds = number;

/** An idempotency key. */
export type Key = string;

export type Merge = "reject" | "disjoint";

export type Position = {
  version: Count;
  epoch: Count;
};

/** RFC 6901, relative to the session resource. */
export type Pointer = string;

/** One operation of RFC 6902. */
export type Operation = {
  op: "add" | "replace" | "test";
  path: Pointer;
  from?: Pointer;
  value: Json;
} | {
  op: "remove";
  path: Pointer;
  from?: Pointer;
  value?: Json;
} | {
  op: "move" | "copy";
  path: Pointer;
  from: Pointer;
  value?: Json;
};

export type Operations = Operation[];

/** Without the patch's `test`s. */
export type AcceptedOperations = Operation[];

/** RFC 7396. */
export type MergePatch = {
  name?: SessionName;
  data?: Json;
};

/** A participant of a clock, or a group of them. */
export type ParticipantId = string;

/** Milliseconds of a clock's time. */
export type ClockTime = number;

/** Milliseconds that are given, or taken where it is below 0. */
export type AdjustMs = number;

/** Why a clock is adjusted. */
export type Reason = string;

export type ClockMode = "per_participant" | "per_cycle" | "per_group" | "global" | "count_up";

/** What happens when the running time is over. */
export type ClockAction = "end_session" | "skip" | "auto_switch" | "notify";

/** Added after each turn that did not expire. */
export type IncrementMs = number;

export type OnTimeout = {
  action: ClockAction;
};

/** How long before the deadline it is announced. */
export type WarningsMs = number[];

export type Code = "invalid_json" | "invalid_request" | "unauthenticated" | "token_expired" | "forbidden" | "device_removed" | "too_many_devices" | "not_found" | "method_not_allowed" | "not_acceptable" | "version_conflict" | "version_gone" | "session_ended" | "invalid_transition" | "checksum_mismatch" | "not_active_participant" | "body_too_large" | "state_too_large" | "unsupported_media_type" | "invalid_value" | "patch_failed" | "path_not_writable" | "idempotency_key_reused" | "precondition_required" | "rate_limited" | "too_many_sessions" | "internal" | "unavailable" | "timeout";

/** 128 random bits in base64url. */
export type HandoffCode = string;

/** The client's; comes back on the answer. */
export type MessageId = string;

/** That of a broadcast has neither checksum nor rebased. */
export type WsAck = {
  type: "ack";
  id?: MessageId;
  sessionId: Uuid;
  epoch: Count;
  version: Count;
  checksum?: Checksum;
  rebased?: boolean;
  replayed?: true;
};

/** WebSocket, client to server: who I am */
export type WsAuth = {
  type: "auth";
  id?: MessageId;
  /** A JWT. */
  token: string;
  device?: {
    /** At most 255 bytes, no control characters. */
    name?: string;
    /** At most 64 bytes, no control characters. */
    platform?: string;
  };
};

/** WebSocket, client to server: tell the devices of a session */
export type WsBroadcast = {
  type: "broadcast";
  id?: MessageId;
  sessionId: Uuid;
  traceparent?: Traceparent;
  message: Json;
  /** To the sender too. */
  echo?: boolean;
};

/** WebSocket, server to client: a message was refused */
export type WsError = {
  type: "error";
  id?: MessageId;
  sessionId?: Uuid;
  code: Code;
  detail: string;
  temporary: boolean;
  field?: string;
  pointer?: string;
  index?: number;
  /** Of rate_limited: when it may be tried again. */
  retryAfterMs?: number;
  currentVersion?: Count;
  epoch?: Count;
  deltas?: Delta[];
  session?: Session;
};

/** WebSocket, client to server: this session is in use */
export type WsHeartbeat = {
  type: "heartbeat";
  id?: MessageId;
  sessionId: Uuid;
  traceparent?: Traceparent;
};

/** WebSocket, server to client: you are authenticated */
export type WsHello = {
  type: "hello";
  id?: MessageId;
  connectionId: Uuid;
  serverTime: Moment;
  pingSeconds: number;
  maxMessageBytes: number;
};

/** WebSocket, client to server: change a session */
export type WsPatch = {
  type: "patch";
  id?: MessageId;
  sessionId: Uuid;
  baseVersion?: Count;
  epoch?: Count;
  operations: Operations;
  /** What the result must have. */
  checksum?: Checksum;
  merge?: Merge;
  key?: Key;
  traceparent?: Traceparent;
};

/** WebSocket, client to server: are you there? */
export type WsPing = {
  type: "ping";
  id?: MessageId;
};

/** WebSocket, server to client: I am here */
export type WsPong = {
  type: "pong";
  id?: MessageId;
  serverTime: Moment;
};

/** WebSocket, server to client: devices that came and went since the last one */
export type WsPresence = {
  type: "presence";
  sessionId: Uuid;
  joined: DeviceId[];
  left: DeviceId[];
};

/** WebSocket, server to client: the session as it is now */
export type WsStateSync = {
  type: "state_sync";
  id?: MessageId;
  sessionId: Uuid;
  epoch: Count;
  version: Count;
  session: Session;
  reason: "initial" | "window" | "epoch" | "rebuilt" | "ahead" | "slow";
};

/** WebSocket, client to server: change a session's status */
export type WsStatus = {
  type: "status";
  id?: MessageId;
  sessionId: Uuid;
  status: TargetStatus;
  key?: Key;
  traceparent?: Traceparent;
};

/** WebSocket, client to server: send me this session */
export type WsSubscribe = {
  type: "subscribe";
  id?: MessageId;
  sessionId: Uuid;
  /** What the client has: send me what follows it. */
  since?: Since;
  /** The epoch of since; 1 without. */
  epoch?: Count;
};

/** WebSocket, server to client: subscribed from a position; the missed events follow */
export type WsSubscribed = {
  type: "subscribed";
  id?: MessageId;
  sessionId: Uuid;
  epoch: Count;
  /** The session's, now. */
  version: Count;
  /** How many events follow to get there. */
  replayed: Since;
};

/** WebSocket, client to server: end the turn of a session's clock */
export type WsSwitch = {
  type: "switch";
  id?: MessageId;
  sessionId: Uuid;
  baseVersion?: Count;
  epoch?: Count;
  /** Whose turn is next; without: the next in the order that has time left. */
  nextParticipantId?: ParticipantId;
  /** Whose turn it has to be: else not_active_participant. This or baseVersion is needed. */
  currentParticipantId?: ParticipantId;
  key?: Key;
  traceparent?: Traceparent;
};

/** WebSocket, server to client: send a new token before this moment */
export type WsTokenExpiring = {
  type: "token_expiring";
  id?: MessageId;
  expiresAt: Moment;
};

/** WebSocket, client to server: no more of this session */
export type WsUnsubscribe = {
  type: "unsubscribe";
  id?: MessageId;
  sessionId: Uuid;
};

/** WebSocket, server to client: the session is lost to this connection */
export type WsUnsubscribed = {
  type: "unsubscribed";
  id?: MessageId;
  sessionId: Uuid;
  /** Why; absent when it was asked for. */
  code?: Code;
};
