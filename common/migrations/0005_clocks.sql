-- A session's clock, as the newest event that told one told it. Contract: clocks.

-- clock_runs, clock_at: whether its time runs, and when it is over (NULL: never), so that nobody has to
-- look into the text. clock_position: of the newest that told one (epoch * 2^32 + version).
ALTER TABLE sessions
    ADD COLUMN clock json,
    ADD COLUMN clock_runs boolean NOT NULL DEFAULT false,
    ADD COLUMN clock_at timestamptz,
    ADD COLUMN clock_position bigint NOT NULL DEFAULT 0;

-- When something happens next by itself: while the clock runs its end alone, else idle or expiry.
CREATE FUNCTION session_due_at(status text, updated_at timestamptz, ttl_seconds integer,
                               clock_runs boolean, clock_at timestamptz)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN clock_runs THEN clock_at
                ELSE session_due_at(status, updated_at, ttl_seconds) END
$$;

-- As in 0004, with the clock.
CREATE OR REPLACE FUNCTION session_purge(gone uuid, most integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    n_events integer;
    n_snapshots integer;
BEGIN
    DELETE FROM session_events WHERE session_id = gone AND message_id = ANY (ARRAY(
        SELECT message_id FROM session_events WHERE session_id = gone LIMIT most));
    GET DIAGNOSTICS n_events = ROW_COUNT;
    DELETE FROM session_snapshots WHERE session_id = gone AND (epoch, version) IN (
        SELECT epoch, version FROM session_snapshots WHERE session_id = gone LIMIT most / 10);
    GET DIAGNOSTICS n_snapshots = ROW_COUNT;
    IF n_events = most OR n_snapshots = most / 10 THEN
        RETURN false;
    END IF;
    DELETE FROM session_participants WHERE session_id = gone;
    DELETE FROM session_devices WHERE session_id = gone;
    UPDATE sessions
        SET user_id = '00000000-0000-0000-0000-000000000000', name = NULL, type = NULL,
            status = NULL, completed_at = NULL, updated_at = deleted_at, ttl_seconds = NULL,
            on_idle = NULL, due_at = NULL, active_device_id = NULL, last_active_device_id = NULL,
            last_modified = NULL, modified_by = NULL, checksum = NULL, cold_epoch = NULL,
            cold_version = NULL, clock = NULL, clock_runs = false, clock_at = NULL,
            purged_at = now()
        WHERE id = gone;
    RETURN true;
END
$$;
