-- A role for each service that asks PostgreSQL, and one for who looks on, before the first start: audit_writer makes the tables. In the
-- services' database, as its owner.
CREATE ROLE audit_writer LOGIN PASSWORD 'change me: audit_writer';
CREATE ROLE session_api LOGIN PASSWORD 'change me: session_api';
CREATE ROLE state_engine LOGIN PASSWORD 'change me: state_engine';
-- Who runs the command handoff: reads, and nothing else.
CREATE ROLE operator LOGIN PASSWORD 'change me: operator';
GRANT CREATE, USAGE ON SCHEMA public TO audit_writer;
-- What watches the server sees its counters and settings, and no table. Who may not grant pg_monitor asks who may; without
-- postgres_exporter leave both out.
CREATE ROLE exporter LOGIN PASSWORD 'change me: exporter' CONNECTION LIMIT 5;
GRANT pg_monitor TO exporter;
