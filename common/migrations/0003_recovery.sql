-- What a session is put together again from after a loss. Contract sections 6 and 7.

-- The command that made the event; with key_hash and fingerprint what a rebuild remembers again, so
-- that a command that comes once more takes effect once.
ALTER TABLE session_events ADD COLUMN command_id uuid;

-- A user's create by its key, while Redis does not remember it.
CREATE INDEX session_events_create_key ON session_events (user_id, key_hash)
    WHERE key_hash IS NOT NULL AND type = 'session_created';

-- The device that was the active one last, also while none is; of the newest position that told one
-- (epoch * 2^32 + version).
ALTER TABLE sessions
    ADD COLUMN last_active_device_id varchar(128),
    ADD COLUMN last_active_position bigint NOT NULL DEFAULT 0;
UPDATE sessions AS s
    SET last_active_device_id = told.device_id,
        last_active_position = told.epoch::bigint * 4294967296 + told.version
    FROM (SELECT DISTINCT ON (session_id) session_id, epoch, version, device_id
          FROM (SELECT session_id, epoch, version,
                       coalesce(payload ->> 'activeDeviceId',
                                payload -> 'session' ->> 'activeDeviceId') AS device_id
                FROM session_events
                WHERE type IN ('session_created', 'status_changed')) AS statuses
          WHERE device_id IS NOT NULL
          ORDER BY session_id, epoch DESC, version DESC) AS told
    WHERE told.session_id = s.id;
