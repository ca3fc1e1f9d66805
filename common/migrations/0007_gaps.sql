-- works from: 0006_look_at.sql
-- Versions that are missing in the trail: known before whoever found them missing can end.

-- One row for each version that was missing while a later one was there, others right before it may be, too; the
-- transaction that brings the later one writes it. It goes when the version has come. told_at: when it was looked for
-- in vain and alarmed; such a row stays, so that it is alarmed once, and goes with its session.
CREATE TABLE session_gaps (
    session_id uuid NOT NULL,
    epoch integer NOT NULL,
    version integer NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    told_at timestamptz,
    PRIMARY KEY (session_id, epoch, version)
);

-- What is still looked for.
CREATE INDEX session_gaps_open ON session_gaps (session_id, epoch, version)
    WHERE told_at IS NULL;

-- As in 0005, with the gaps.
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
    DELETE FROM session_gaps WHERE session_id = gone;
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
