/* SQL; see statements.h. Kept apart so that it can be read, and tried in psql. */
#include "services/audit_writer/statements.h"

/* clang-format off */

const char statement_insert_events[] =
    "INSERT INTO session_events (session_id, message_id, epoch, version, type, kind, device_id,"
    "                            user_id, payload, occurred_at, command_id, key_hash, fingerprint)"
    " SELECT * FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $5::text[],"
    "                      $6::text[], $7::text[], $8::uuid[], $9::json[], $10::timestamptz[],"
    "                      $11::uuid[], $12::text[], $13::text[])"
    " ON CONFLICT (session_id, message_id) DO NOTHING";

const char statement_compare_events[] =
    "SELECT given.number"
    " FROM unnest($1::uuid[], $2::text[], $3::json[], $4::integer[])"
    "      AS given (session_id, message_id, payload, number)"
    " JOIN session_events AS e USING (session_id, message_id)"
    " WHERE e.payload::text <> given.payload::text";

/* What the version of a position came with: a snapshot and who came and went only carry the position.
 * LATERAL keeps to one look into the index for each. */
#define IS_THE_VERSION "e.type NOT IN ('snapshot', 'device_joined', 'device_left')"

/* In the order in which they are given, which is the same for two writers: they wait for each other. */
const char statement_find_missing[] =
    "INSERT INTO session_gaps (session_id, epoch, version)"
    " SELECT given.session_id, given.epoch, given.version"
    " FROM unnest($1::uuid[], $2::integer[], $3::integer[]) AS given (session_id, epoch, version)"
    " LEFT JOIN LATERAL ("
    "   SELECT true AS is_there FROM session_events AS e"
    "   WHERE e.session_id = given.session_id AND e.epoch = given.epoch"
    "     AND e.version = given.version AND " IS_THE_VERSION " LIMIT 1) AS found ON true"
    " WHERE found.is_there IS NULL"
    " ON CONFLICT DO NOTHING RETURNING session_id, epoch, version";

const char statement_find_before[] =
    "WITH looked AS MATERIALIZED ("
    "  SELECT given.*, found.version AS low"
    "  FROM unnest($1::uuid[], $2::integer[], $3::integer[])"
    "       WITH ORDINALITY AS given (session_id, epoch, version, number)"
    "  LEFT JOIN LATERAL ("
    "    SELECT e.version FROM session_events AS e"
    "    WHERE e.session_id = given.session_id AND e.epoch = given.epoch"
    "      AND e.version <= given.version AND " IS_THE_VERSION
    "    ORDER BY e.version DESC LIMIT 1) AS found ON true),"
    " come AS (DELETE FROM session_gaps AS g USING looked AS l"
    "          WHERE (g.session_id, g.epoch, g.version) = (l.session_id, l.epoch, l.version)"
    "            AND l.low = l.version)"
    " SELECT low FROM looked ORDER BY number";

const char statement_read_gaps[] =
    "SELECT session_id, epoch, version FROM session_gaps"
    " WHERE told_at IS NULL AND (session_id, epoch, version) > ($1::uuid, $2::integer, $3::integer)"
    "   AND since <= now() - $4::bigint * interval '1 millisecond'"
    " ORDER BY session_id, epoch, version LIMIT $5::integer";

const char statement_mark_lost[] =
    "UPDATE session_gaps AS g SET told_at = now()"
    " FROM unnest($1::uuid[], $2::integer[], $3::integer[])"
    "      WITH ORDINALITY AS given (session_id, epoch, version, number)"
    " WHERE (g.session_id, g.epoch, g.version) = (given.session_id, given.epoch, given.version)"
    "   AND g.told_at IS NULL"
    " RETURNING given.number";

/* `->` takes data out of the body with its text as it is. Several of one position have the same data:
 * one that was asked for gives its label to the one that was made by itself. */
const char statement_insert_snapshots[] =
    "INSERT INTO session_snapshots AS s"
    "  (session_id, epoch, version, data, checksum, label, occurred_at)"
    " SELECT DISTINCT ON (id, epoch, version) id, epoch, version, body -> 'data', body ->> 'checksum',"
    "        label, min(occurred_at) OVER (PARTITION BY id, epoch, version)"
    " FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::json[], $5::timestamptz[], $6::text[])"
    "      AS given (id, epoch, version, body, occurred_at, label)"
    " ORDER BY id, epoch, version, label IS NULL, given.occurred_at DESC"
    " ON CONFLICT (session_id, epoch, version) DO UPDATE SET"
    "  label = coalesce(excluded.label, s.label),"
    "  occurred_at = least(excluded.occurred_at, s.occurred_at)"
    " WHERE excluded.label <> s.label OR (excluded.label IS NOT NULL AND s.label IS NULL)"
    "    OR excluded.occurred_at < s.occurred_at";

/* The session's row is there: every event of the batch has made it. */
const char statement_upsert_participants[] =
    "INSERT INTO session_participants AS p"
    "  (session_id, user_id, role, epoch, version, updated_at, session_created_at)"
    " SELECT DISTINCT ON (session_id, given.user_id) given.*, s.created_at"
    " FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::integer[],"
    "             $6::timestamptz[])"
    "      AS given (session_id, user_id, role, epoch, version, updated_at)"
    " JOIN sessions AS s ON s.id = given.session_id"
    " ORDER BY session_id, given.user_id, given.epoch DESC, given.version DESC"
    " ON CONFLICT (session_id, user_id) DO UPDATE SET"
    "  role = excluded.role, epoch = excluded.epoch, version = excluded.version,"
    "  updated_at = excluded.updated_at"
    " WHERE (excluded.epoch, excluded.version) > (p.epoch, p.version)";

const char statement_upsert_devices[] =
    "INSERT INTO session_devices AS d"
    "  (session_id, device_id, user_id, first_seen, last_seen, name, name_at, platform, platform_at,"
    "   removed, removed_position)"
    " SELECT session_id, device_id,"
    "   (array_agg(user_id ORDER BY seen_at DESC) FILTER (WHERE seen_at IS NOT NULL))[1],"
    "   min(seen_at), max(seen_at),"
    "   (array_agg(name ORDER BY seen_at DESC) FILTER (WHERE name IS NOT NULL))[1],"
    "   max(seen_at) FILTER (WHERE name IS NOT NULL),"
    "   (array_agg(platform ORDER BY seen_at DESC) FILTER (WHERE platform IS NOT NULL))[1],"
    "   max(seen_at) FILTER (WHERE platform IS NOT NULL),"
    "   coalesce((array_agg(removed ORDER BY removed_position DESC)"
    "             FILTER (WHERE removed IS NOT NULL))[1], false),"
    "   max(removed_position)"
    " FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[],"
    "             $7::boolean[], $8::bigint[])"
    "      AS given (session_id, device_id, user_id, seen_at, name, platform, removed,"
    "                removed_position)"
    " GROUP BY session_id, device_id ORDER BY session_id, device_id"
    " ON CONFLICT (session_id, device_id) DO UPDATE SET"
    "  user_id = CASE WHEN d.last_seen IS NULL OR excluded.last_seen >= d.last_seen"
    "                 THEN excluded.user_id ELSE d.user_id END,"
    "  first_seen = least(d.first_seen, excluded.first_seen),"
    "  last_seen = greatest(d.last_seen, excluded.last_seen),"
    "  name = CASE WHEN d.name_at IS NULL OR excluded.name_at > d.name_at"
    "              THEN excluded.name ELSE d.name END,"
    "  name_at = greatest(d.name_at, excluded.name_at),"
    "  platform = CASE WHEN d.platform_at IS NULL OR excluded.platform_at > d.platform_at"
    "                  THEN excluded.platform ELSE d.platform END,"
    "  platform_at = greatest(d.platform_at, excluded.platform_at),"
    "  removed = CASE WHEN excluded.removed_position > d.removed_position"
    "                 THEN excluded.removed ELSE d.removed END,"
    "  removed_position = greatest(d.removed_position, excluded.removed_position)"
    " WHERE excluded.removed_position > d.removed_position"
    "    OR excluded.first_seen < coalesce(d.first_seen, 'infinity')"
    "    OR excluded.last_seen > coalesce(d.last_seen, '-infinity')"
    "    OR excluded.name_at > coalesce(d.name_at, '-infinity')"
    "    OR excluded.platform_at > coalesce(d.platform_at, '-infinity')";

/* type tells whether session_created was seen. The rows come sorted by id, so that two writers, one of
 * which just took over, lock them in the same order. What was delivered again changes nothing and
 * writes nothing. Each column is an expression of its own: one sub-select for a group of them costs
 * more than what its condition costs again. */
#define IS_NEWER "(excluded.epoch, excluded.version) > (s.epoch, s.version)"
#define NEWER_OF(group, column)                                                                     \
    "  " column " = CASE WHEN excluded." group "_position > s." group "_position"                   \
    "       THEN excluded." column " ELSE s." column " END,"
#define GREATEST_OF(column) "  " column " = greatest(excluded." column ", s." column "),"

const char statement_upsert_sessions[] =
    "INSERT INTO sessions AS s"
    "  (id, epoch, version, updated_at, created_at, user_id, type, ttl_seconds, on_idle,"
    "   name_position, name, status_position, status, active_device_id, completed_at,"
    "   data_position, last_modified, modified_by, checksum, deleted_at,"
    "   last_active_position, last_active_device_id,"
    "   clock_position, clock, clock_runs, clock_at, due_at, look_at)"
    " SELECT given.*, due.at, due.at"
    " FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::timestamptz[], $5::timestamptz[],"
    "             $6::uuid[], $7::text[], $8::integer[], $9::text[],"
    "             $10::bigint[], $11::text[], $12::bigint[], $13::text[], $14::text[],"
    "             $15::timestamptz[],"
    "             $16::bigint[], $17::timestamptz[], $18::text[], $19::text[], $20::timestamptz[],"
    "             $21::bigint[], $22::text[],"
    "             $23::bigint[], $24::json[], $25::boolean[], $26::timestamptz[])"
    "      AS given (id, epoch, version, updated_at, created_at, user_id, type, ttl_seconds, on_idle,"
    "                name_position, name, status_position, status, active_device_id, completed_at,"
    "                data_position, last_modified, modified_by, checksum, deleted_at,"
    "                last_active_position, last_active_device_id,"
    "                clock_position, clock, clock_runs, clock_at),"
    "      LATERAL (SELECT CASE WHEN deleted_at IS NULL"
    "                           THEN session_due_at(status, updated_at, ttl_seconds,"
    "                                               clock_runs, clock_at) END) AS due (at)"
    " ON CONFLICT (id) DO UPDATE SET"
    GREATEST_OF("updated_at")
    "  epoch = CASE WHEN " IS_NEWER " THEN excluded.epoch ELSE s.epoch END,"
    "  version = CASE WHEN " IS_NEWER " THEN excluded.version ELSE s.version END,"
    "  cold_epoch = CASE WHEN " IS_NEWER " THEN NULL ELSE s.cold_epoch END,"
    "  cold_version = CASE WHEN " IS_NEWER " THEN NULL ELSE s.cold_version END,"
    "  created_at = CASE WHEN excluded.type IS NULL THEN s.created_at ELSE excluded.created_at END,"
    "  user_id = CASE WHEN excluded.type IS NULL THEN s.user_id ELSE excluded.user_id END,"
    "  type = coalesce(excluded.type, s.type),"
    "  ttl_seconds = coalesce(excluded.ttl_seconds, s.ttl_seconds),"
    "  on_idle = coalesce(excluded.on_idle, s.on_idle),"
    GREATEST_OF("name_position")
    NEWER_OF("name", "name")
    GREATEST_OF("status_position")
    NEWER_OF("status", "status")
    NEWER_OF("status", "active_device_id")
    NEWER_OF("status", "completed_at")
    GREATEST_OF("data_position")
    "  last_modified = CASE WHEN excluded.data_position > s.data_position"
    "                       THEN coalesce(excluded.last_modified, s.last_modified)"
    "                       ELSE s.last_modified END,"
    "  modified_by = CASE WHEN excluded.data_position > s.data_position"
    "                          AND excluded.last_modified IS NOT NULL"
    "                     THEN excluded.modified_by ELSE s.modified_by END,"
    NEWER_OF("data", "checksum")
    GREATEST_OF("last_active_position")
    NEWER_OF("last_active", "last_active_device_id")
    GREATEST_OF("clock_position")
    NEWER_OF("clock", "clock")
    NEWER_OF("clock", "clock_runs")
    NEWER_OF("clock", "clock_at")
    "  deleted_at = coalesce(s.deleted_at, excluded.deleted_at),"
    "  due_at = CASE WHEN coalesce(s.deleted_at, excluded.deleted_at) IS NULL THEN session_due_at("
    "     CASE WHEN excluded.status_position > s.status_position"
    "          THEN excluded.status ELSE s.status END,"
    "     greatest(excluded.updated_at, s.updated_at),"
    "     coalesce(excluded.ttl_seconds, s.ttl_seconds),"
    "     CASE WHEN excluded.clock_position > s.clock_position"
    "          THEN excluded.clock_runs ELSE s.clock_runs END,"
    "     CASE WHEN excluded.clock_position > s.clock_position"
    "          THEN excluded.clock_at ELSE s.clock_at END) END"
    " WHERE " IS_NEWER
    "    OR excluded.updated_at > s.updated_at"
    "    OR excluded.name_position > s.name_position"
    "    OR excluded.status_position > s.status_position"
    "    OR excluded.data_position > s.data_position"
    "    OR excluded.last_active_position > s.last_active_position"
    "    OR excluded.clock_position > s.clock_position"
    "    OR (s.type IS NULL AND excluded.type IS NOT NULL)"
    "    OR (s.deleted_at IS NULL AND excluded.deleted_at IS NOT NULL)";

const char statement_purge_step[] =
    "SELECT session_purge(id, 1000) FROM ("
    "  SELECT id FROM sessions"
    "  WHERE deleted_at < now() - $1::bigint * interval '1 millisecond' AND purged_at IS NULL"
    "  ORDER BY deleted_at LIMIT 1 FOR UPDATE SKIP LOCKED) AS oldest";

const char statement_make_partitions[] =
    "SELECT session_events_make_partition(date_trunc('month', now()) + n * interval '1 month')"
    " FROM generate_series(0, 2) AS n";
