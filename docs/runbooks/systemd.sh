# shellcheck shell=bash
# What the runbooks' commands mean on machines with systemd: . /usr/share/doc/handoff/runbooks/systemd.sh, as root. The servers may be
# elsewhere: say where, as users that may look, unless /etc/handoff/operator has it. Redis' slow commands, its settings and its saving
# are for who may do everything there. RabbitMQ's commands have to be run on its own machine, as root.
_url() { [ ! -r "/etc/handoff/$1" ] || cat "/etc/handoff/$1"; }

: "${HANDOFF_AMQP_URL:=$(_url operator/amqp_url)}" "${HANDOFF_REDIS_URL:=$(_url operator/redis_url)}"
: "${HANDOFF_DATABASE_URL:=$(_url operator/database_url)}" "${REDIS_ADMIN_URL:=$(_url admin/redis_url)}"
: "${HANDOFF_AMQP_URL:?amqp://operator:…@rabbitmq.example:5672/handoff}"
: "${HANDOFF_REDIS_URL:?redis://operator:…@redis.example:6379/0}"
: "${HANDOFF_DATABASE_URL:?postgres://…@postgresql.example:5432/handoff}"
: "${PROMETHEUS_URL:=http://localhost:9090}"
export HANDOFF_AMQP_URL HANDOFF_REDIS_URL HANDOFF_DATABASE_URL

_unit() { echo "handoff-${1//_/-}"; }

ask() { promtool query instant "$PROMETHEUS_URL" "$1"; }
logs() { journalctl -u "$(_unit "$1")" -o cat --since '15 min ago' --no-pager | sed -n "/${2:-.}/p"; }
redis() { redis-cli --no-auth-warning -u "${REDIS_ADMIN_URL:-$HANDOFF_REDIS_URL}" "$@"; }
sql() { psql -X "$HANDOFF_DATABASE_URL" -c "$1"; }
broker() { "$@"; }
state() { systemctl --no-pager status 'handoff-*'; }
start() { systemctl start "$(_unit "$1")"; }
restart() { systemctl restart "$(_unit "$1")"; }
# handoff: the command of that name, /usr/bin/handoff.
