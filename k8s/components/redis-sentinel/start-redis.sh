# Start Redis as a replica of the primary, or as the primary.
set -eu
. "$(dirname "$0")/primary.sh"

primary=$(primary)
# Whoever lost its data must not come back as primary, or the others would copy its emptiness: it waits for a fail-over.
while [ "$primary" = "$SELF" ] && [ ! -e "$DATA/appendonlydir" ] && [ -n "$(ask_others)" ]; do
  echo "start-redis: $SELF is named as primary and has no data: waiting until another takes over"
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
