# shellcheck shell=bash
# What the runbooks' commands mean where compose/compose.yaml runs: . docs/runbooks/compose.sh, in the repository's folder.
_compose() { docker compose -f compose/compose.yaml "$@"; }

ask() { _compose exec -T prometheus promtool query instant http://localhost:9090 "$1"; }
logs() { _compose logs --no-log-prefix --since 15m "$1" | sed -n "/${2:-.}/p"; }
redis() { _compose exec -T -e REDISCLI_AUTH="$(cat compose/secrets/redis_admin)" redis redis-cli --user admin "$@"; }
sql() { _compose exec -T postgresql psql -X -U postgres -d handoff -c "$1"; }
broker() { _compose exec -T --user rabbitmq rabbitmq "$@"; }
state() { _compose ps --all; }
start() { _compose up -d --no-recreate "$1"; }
restart() { _compose restart "$1"; }
handoff() { _compose run --rm -T handoff "$@"; }
