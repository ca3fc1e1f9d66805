-- What history, snapshots, sharing and devices are asked for. Contract sections 3 and 7.

-- A session's history, newest first, and its versions in order: also what the index was for that it
-- replaces.
CREATE INDEX session_events_history
    ON session_events (session_id, epoch, version, occurred_at, message_id);
DROP INDEX session_events_position;

-- When the session was created, so that a user's shared sessions can be listed newest first. Events
-- come out of order: sessions.created_at is a guess until session_created was seen.
ALTER TABLE session_participants ADD COLUMN session_created_at timestamptz;
UPDATE session_participants AS p SET session_created_at = s.created_at
    FROM sessions AS s WHERE s.id = p.session_id;
DELETE FROM session_participants WHERE session_created_at IS NULL;
ALTER TABLE session_participants ALTER COLUMN session_created_at SET NOT NULL;

CREATE FUNCTION session_participants_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE session_participants SET session_created_at = NEW.created_at WHERE session_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER session_participants_follow AFTER UPDATE OF created_at ON sessions
    FOR EACH ROW WHEN (OLD.created_at IS DISTINCT FROM NEW.created_at)
    EXECUTE FUNCTION session_participants_follow();

-- A user's shared sessions, newest first.
CREATE INDEX session_participants_list
    ON session_participants (user_id, session_created_at DESC, session_id DESC)
    WHERE role IS NOT NULL;
DROP INDEX session_participants_user;

-- A device may be kept out that was never seen. name and platform are what it said last, at these
-- moments; removed is of the newest position (epoch * 2^32 + version).
ALTER TABLE session_devices
    ALTER COLUMN first_seen DROP NOT NULL,
    ALTER COLUMN last_seen DROP NOT NULL,
    ADD COLUMN name_at timestamptz,
    ADD COLUMN platform_at timestamptz,
    ADD COLUMN removed_position bigint NOT NULL DEFAULT 0;

-- A session's devices, those seen last first; those that are kept out.
CREATE INDEX session_devices_seen ON session_devices (session_id, last_seen DESC NULLS LAST);
CREATE INDEX session_devices_removed ON session_devices (session_id) WHERE removed;
