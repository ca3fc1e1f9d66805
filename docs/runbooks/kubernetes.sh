# shellcheck shell=bash
# What the runbooks' commands mean on Kubernetes: . docs/runbooks/kubernetes.sh. The servers and Prometheus are yours: say where they are,
# as seen from here (kubectl port-forward), and as users that may look; RABBITMQ_POD is where RabbitMQ's own commands are. Redis' slow
# commands, its settings and its saving are for who may do everything there: REDIS_ADMIN_URL.
: "${HANDOFF_AMQP_URL:?amqp://operator:…@localhost:5672/handoff}"
: "${HANDOFF_REDIS_URL:?redis://operator:…@localhost:6379/0}"
: "${HANDOFF_DATABASE_URL:?postgres://…@localhost:5432/handoff}"
: "${PROMETHEUS_URL:=http://localhost:9090}" "${HANDOFF_NAMESPACE:=handoff}"
export HANDOFF_AMQP_URL HANDOFF_REDIS_URL HANDOFF_DATABASE_URL

_kubectl() { kubectl -n "$HANDOFF_NAMESPACE" "$@"; }

ask() { promtool query instant "$PROMETHEUS_URL" "$1"; }
logs() { _kubectl logs -l "app.kubernetes.io/name=${1//_/-}" --tail=-1 --since=15m | sed -n "/${2:-.}/p"; }
redis() { redis-cli --no-auth-warning -u "${REDIS_ADMIN_URL:-$HANDOFF_REDIS_URL}" "$@"; }
sql() { psql -X "$HANDOFF_DATABASE_URL" -c "$1"; }
broker() { _kubectl exec "${RABBITMQ_POD:?a pod of RabbitMQ}" -- "$@"; }
state() { _kubectl get pods -o wide; }
start() { _kubectl scale "deployment/${1//_/-}" --replicas=2; }
restart() { _kubectl rollout restart "deployment/${1//_/-}"; }
# handoff: the command of that name, of the image of compose/Dockerfile's target `handoff` or built here.
