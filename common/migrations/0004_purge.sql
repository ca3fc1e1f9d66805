-- What was deleted long ago goes for good. Contract section 6 (deletion).

-- When nothing of a deleted session was left but its id, its position and these two moments.
ALTER TABLE sessions ADD COLUMN purged_at timestamptz;

-- Deleted sessions of which something is left, those first that were deleted first.
CREATE INDEX sessions_to_purge ON sessions (deleted_at)
    WHERE deleted_at IS NOT NULL AND purged_at IS NULL;

-- Takes away up to `most` rows of a deleted session, and a tenth of that of its snapshots, which are
-- large. True: it was the last step.
CREATE FUNCTION session_purge(gone uuid, most integer) RETURNS boolean LANGUAGE plpgsql AS $$
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
            cold_version = NULL, purged_at = now()
        WHERE id = gone;
    RETURN true;
END
$$;
