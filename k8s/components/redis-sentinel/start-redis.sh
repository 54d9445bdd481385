# Start Redis as a replica of the primary, or as the primary.
set -eu
. "$(dirname "$0")/primary.sh"

# More than what an empty Redis writes.
has_data() {
  [ -n "$(find "$DATA/appendonlydir" -type f -size +2k 2>/dev/null)" ]
}

# One that is away or loads is not known to be.
is_empty() {
  said=$(REDISCLI_AUTH=$(cat "$SECRETS/replication") timeout 2 redis-cli -h "$1" -p "$PORT" --user replication --no-auth-warning info 2>/dev/null) || return 1
  case $said in
    *loading:0*'# Keyspace'*db0:*) return 1 ;;
    *loading:0*'# Keyspace'*) return 0 ;;
    *) return 1 ;;
  esac
}

primary=$(primary)
# Whoever lost its data must not come back as primary, or the others would copy its emptiness: it waits for a fail-over.
while [ "$primary" = "$SELF" ] && [ ! -e "$DATA/appendonlydir" ] && [ -n "$(ask_others)" ]; do
  echo "start-redis: $SELF is named as primary and has no data: waiting until another takes over"
  sleep 1
  primary=$(primary)
done

# Where all stood still nobody can tell the first one that it lost its data, and following it would lose that of the others: it is
# for people to say which counts (docs/runbook.md).
while [ "$primary" != "$SELF" ] && has_data && is_empty "$primary"; do
  echo "start-redis: $SELF has data and the primary $primary has none: waiting"
  sleep 1
  primary=$(primary)
done

umask 077
cat > "$DATA/role.conf" <<END
replica-announce-ip $SELF
replica-announce-port $PORT
masteruser replication
masterauth $(cat "$SECRETS/replication")
# What no replica has must not be promised: it could be lost with this server.
min-replicas-to-write 1
min-replicas-max-lag 10
# A pod that comes back has another address: who still calls the old one gives up soon, and looks its name up again.
repl-ping-replica-period 2
repl-timeout 10
END
[ "$primary" = "$SELF" ] || echo "replicaof $primary $PORT" >> "$DATA/role.conf"
echo "start-redis: the primary is $primary"
exec redis-server "$@" --include "$DATA/role.conf"
