/* SQL; see statements.h. Kept apart so that it can be read, and tried in psql. */
#include "services/audit_writer/statements.h"

/* clang-format off */

const char statement_insert_events[] =
    "INSERT INTO session_events (session_id, message_id, epoch, version, type, kind, device_id,"
    "                            user_id, payload, occurred_at)"
    " SELECT * FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $5::text[],"
    "                      $6::text[], $7::text[], $8::uuid[], $9::json[], $10::timestamptz[])"
    " ON CONFLICT (session_id, message_id) DO NOTHING";

/* `->` takes data out of the body with its text as it is. */
const char statement_insert_snapshots[] =
    "INSERT INTO session_snapshots (session_id, epoch, version, data, checksum, label, occurred_at)"
    " SELECT id, epoch, version, body -> 'data', body ->> 'checksum', body ->> 'label', occurred_at"
    " FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::json[], $5::timestamptz[])"
    "      AS given (id, epoch, version, body, occurred_at)"
    " ON CONFLICT (session_id, epoch, version) DO NOTHING";

/* type tells whether session_created was seen. Sorted by id, so that two writers, one of which just took
 * over, lock rows in the same order. What was delivered again changes nothing and writes nothing. */
const char statement_upsert_sessions[] =
    "INSERT INTO sessions AS s"
    "  (id, epoch, version, updated_at, created_at, user_id, type, ttl_seconds, on_idle,"
    "   name_position, name, status_position, status, active_device_id, completed_at,"
    "   data_position, last_modified, modified_by, checksum, deleted_at, due_at)"
    " SELECT given.*, CASE WHEN deleted_at IS NULL"
    "                      THEN session_due_at(status, updated_at, ttl_seconds) END"
    " FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::timestamptz[], $5::timestamptz[],"
    "             $6::uuid[], $7::text[], $8::integer[], $9::text[],"
    "             $10::bigint[], $11::text[], $12::bigint[], $13::text[], $14::text[],"
    "             $15::timestamptz[],"
    "             $16::bigint[], $17::timestamptz[], $18::text[], $19::text[], $20::timestamptz[])"
    "      AS given (id, epoch, version, updated_at, created_at, user_id, type, ttl_seconds, on_idle,"
    "                name_position, name, status_position, status, active_device_id, completed_at,"
    "                data_position, last_modified, modified_by, checksum, deleted_at)"
    " ORDER BY id"
    " ON CONFLICT (id) DO UPDATE SET"
    "  (epoch, version, updated_at) = (SELECT"
    "     CASE WHEN n.newer THEN excluded.epoch ELSE s.epoch END,"
    "     CASE WHEN n.newer THEN excluded.version ELSE s.version END,"
    "     CASE WHEN n.newer THEN excluded.updated_at ELSE s.updated_at END"
    "   FROM (SELECT (excluded.epoch, excluded.version) > (s.epoch, s.version)) AS n (newer)),"
    "  created_at = CASE WHEN excluded.type IS NULL THEN s.created_at ELSE excluded.created_at END,"
    "  user_id = CASE WHEN excluded.type IS NULL THEN s.user_id ELSE excluded.user_id END,"
    "  type = coalesce(excluded.type, s.type),"
    "  ttl_seconds = coalesce(excluded.ttl_seconds, s.ttl_seconds),"
    "  on_idle = coalesce(excluded.on_idle, s.on_idle),"
    "  (name_position, name) = (SELECT"
    "     greatest(excluded.name_position, s.name_position),"
    "     CASE WHEN excluded.name_position > s.name_position THEN excluded.name ELSE s.name END),"
    "  (status_position, status, active_device_id, completed_at) = (SELECT"
    "     greatest(excluded.status_position, s.status_position),"
    "     CASE WHEN n.newer THEN excluded.status ELSE s.status END,"
    "     CASE WHEN n.newer THEN excluded.active_device_id ELSE s.active_device_id END,"
    "     CASE WHEN n.newer THEN excluded.completed_at ELSE s.completed_at END"
    "   FROM (SELECT excluded.status_position > s.status_position) AS n (newer)),"
    "  (data_position, last_modified, modified_by, checksum) = (SELECT"
    "     greatest(excluded.data_position, s.data_position),"
    "     CASE WHEN n.newer THEN excluded.last_modified ELSE s.last_modified END,"
    "     CASE WHEN n.newer THEN excluded.modified_by ELSE s.modified_by END,"
    "     CASE WHEN n.newer THEN excluded.checksum ELSE s.checksum END"
    "   FROM (SELECT excluded.data_position > s.data_position) AS n (newer)),"
    "  deleted_at = coalesce(s.deleted_at, excluded.deleted_at),"
    "  due_at = CASE WHEN coalesce(s.deleted_at, excluded.deleted_at) IS NULL THEN session_due_at("
    "     CASE WHEN excluded.status_position > s.status_position"
    "          THEN excluded.status ELSE s.status END,"
    "     CASE WHEN (excluded.epoch, excluded.version) > (s.epoch, s.version)"
    "          THEN excluded.updated_at ELSE s.updated_at END,"
    "     coalesce(excluded.ttl_seconds, s.ttl_seconds)) END"
    " WHERE (excluded.epoch, excluded.version) > (s.epoch, s.version)"
    "    OR excluded.name_position > s.name_position"
    "    OR excluded.status_position > s.status_position"
    "    OR excluded.data_position > s.data_position"
    "    OR (s.type IS NULL AND excluded.type IS NOT NULL)"
    "    OR (s.deleted_at IS NULL AND excluded.deleted_at IS NOT NULL)";

const char statement_make_partitions[] =
    "SELECT session_events_make_partition(date_trunc('month', now()) + n * interval '1 month')"
    " FROM generate_series(0, 2) AS n";
