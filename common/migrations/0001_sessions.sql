-- The sessions as lists and cold reads see them, and their audit trail. Contract section 7.
-- JSON columns are json, not jsonb: the text stays as it was.

-- One row a session, made from any of its events. Events of one session may come out of order when
-- several engines work: version and epoch are the newest position seen, and each group of columns
-- that one kind of event sets remembers the position it comes from (epoch * 2^32 + version).
CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    -- the owner; the nil UUID (nobody) as long as session_created was not seen
    user_id uuid NOT NULL,
    -- name, type, status, ttl_seconds, on_idle: NULL as long as no event told them
    name varchar(255),
    type varchar(50),
    status varchar(20) CHECK (status IN ('pending', 'active', 'paused', 'completed', 'cancelled',
                                         'expired')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    completed_at timestamptz,
    version integer NOT NULL DEFAULT 1,
    epoch integer NOT NULL DEFAULT 1,
    ttl_seconds integer,
    on_idle varchar(20),
    -- when idle or expiry acts next; NULL: never
    due_at timestamptz,
    active_device_id varchar(128),
    last_modified timestamptz,
    modified_by varchar(128),
    checksum varchar(64),
    cold_epoch integer,
    cold_version integer,
    deleted_at timestamptz,
    name_position bigint NOT NULL DEFAULT 0,
    status_position bigint NOT NULL DEFAULT 0,
    data_position bigint NOT NULL DEFAULT 0
);

-- A user's sessions, newest first.
CREATE INDEX sessions_list ON sessions (user_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL;
-- How many of a user's sessions have not ended.
CREATE INDEX sessions_open ON sessions (user_id)
    WHERE deleted_at IS NULL AND status IN ('pending', 'active', 'paused');
-- What is due.
CREATE INDEX sessions_due ON sessions (due_at)
    WHERE due_at IS NOT NULL;

-- When idle or expiry acts next, counted from the last event.
CREATE FUNCTION session_due_at(status text, updated_at timestamptz, ttl_seconds integer)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN status = 'active' THEN updated_at + make_interval(secs => ttl_seconds)
                WHEN status IN ('pending', 'paused') THEN updated_at + interval '720 hours' END
$$;

-- Append-only. A session's rows lie in the partition of the month in which it was created, which its
-- id (UUIDv7) begins with; what fits in none (other ids, old sessions) in session_events_default.
CREATE TABLE session_events (
    session_id uuid NOT NULL,
    message_id text NOT NULL,
    epoch integer NOT NULL,
    version integer NOT NULL,
    type varchar(50) NOT NULL,
    kind varchar(50) NOT NULL,
    -- who caused it; NULL: the engine
    device_id varchar(128),
    user_id uuid,
    -- the event's body as it came; a snapshot's without data, which lies in session_snapshots
    payload json NOT NULL,
    occurred_at timestamptz NOT NULL,
    -- of the idempotency key, where the event remembers one
    key_hash text,
    fingerprint text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, message_id)
) PARTITION BY RANGE (session_id);

CREATE INDEX session_events_position ON session_events (session_id, epoch, version);

CREATE TABLE session_events_default PARTITION OF session_events DEFAULT;

CREATE TABLE session_snapshots (
    session_id uuid NOT NULL,
    epoch integer NOT NULL,
    version integer NOT NULL,
    data json NOT NULL,
    checksum varchar(64) NOT NULL,
    label text,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (session_id, epoch, version)
);

-- role NULL: removed; the row stays, so that an older event cannot bring the role back.
CREATE TABLE session_participants (
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role varchar(20) CHECK (role IN ('editor', 'viewer')),
    epoch integer NOT NULL,
    version integer NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (session_id, user_id)
);

-- A user's shared sessions.
CREATE INDEX session_participants_user ON session_participants (user_id, session_id)
    WHERE role IS NOT NULL;

CREATE TABLE session_devices (
    session_id uuid NOT NULL,
    device_id varchar(128) NOT NULL,
    user_id uuid,
    name text,
    platform text,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    removed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (session_id, device_id)
);

-- The smallest UUID of a moment as UUIDv7 has it: 48 bits of milliseconds, then zeros.
CREATE FUNCTION session_id_floor(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT rpad(lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

-- Makes the partition session_events_<year>_<month> of the month (UTC) that moment lies in, unless it
-- is there. Rows of that month that the default partition took meanwhile move: they would forbid it.
CREATE FUNCTION session_events_make_partition(moment timestamptz) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
    month_start timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    name text := 'session_events_' || to_char(month_start, 'YYYY_MM');
    low uuid := session_id_floor(month_start AT TIME ZONE 'UTC');
    high uuid := session_id_floor((month_start + interval '1 month') AT TIME ZONE 'UTC');
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    LOCK TABLE ONLY session_events IN SHARE UPDATE EXCLUSIVE MODE; -- one maker at a time
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    LOCK TABLE session_events_default IN ACCESS EXCLUSIVE MODE; -- nobody adds while rows move
    EXECUTE format('CREATE TABLE %I (LIKE session_events INCLUDING ALL)', name);
    EXECUTE format('WITH moved AS (DELETE FROM session_events_default
                                   WHERE session_id >= %L AND session_id < %L RETURNING *)
                    INSERT INTO %I SELECT * FROM moved', low, high, name);
    EXECUTE format('ALTER TABLE session_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   name, low, high);
END
$$;
