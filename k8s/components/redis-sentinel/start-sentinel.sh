# Start a Sentinel. What it learns it writes into its own file, which outlives it.
set -eu
. "$(dirname "$0")/primary.sh"

if [ ! -s "$DATA/sentinel.conf" ]; then
  primary=$(primary)
  umask 077
  cat > "$DATA/sentinel.conf.new" <<END
port $SENTINEL_PORT
bind ${BIND:-* -::*}
dir $DATA
protected-mode no
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $SELF
sentinel announce-port $SENTINEL_PORT
sentinel monitor bascule $primary $PORT 2
sentinel auth-user bascule replication
sentinel auth-pass bascule $(cat "$SECRETS/replication")
sentinel down-after-milliseconds bascule 5000
sentinel failover-timeout bascule 30000
sentinel parallel-syncs bascule 1
END
  # It does not start before it can look up the name of the primary.
  until redis-cli -h "$primary" -p "$PORT" ping >/dev/null 2>&1; do sleep 1; done
  mv "$DATA/sentinel.conf.new" "$DATA/sentinel.conf"
fi
exec redis-server "$DATA/sentinel.conf" --sentinel
