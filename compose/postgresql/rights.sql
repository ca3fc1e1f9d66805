-- What the others may, once audit_writer has made its tables; as audit_writer. Again after an update that brings
-- new ones. session_gaps is audit_writer's alone; the operator looks at it.
GRANT SELECT ON sessions, session_events, session_snapshots, session_participants, session_devices,
    schema_migrations
    TO session_api, state_engine;
GRANT UPDATE (due_at, cold_epoch, cold_version) ON sessions TO state_engine;
-- The operator's, where there is such a role (roles.sql).
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'operator') THEN
        GRANT SELECT ON sessions, session_events, session_snapshots, session_participants, session_devices,
            session_gaps, schema_migrations
            TO operator;
    END IF;
END $$;
