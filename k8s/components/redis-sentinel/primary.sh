# Names this server and the primary for the two that start with it. What the others' Sentinels agree on counts; where none answers,
# what this one's Sentinel knew last; at the very first start the first server.
#
# For trials elsewhere: SELF, PEERS, DATA, SECRETS, PORT, SENTINEL_PORT, BIND.

PORT=${PORT:-6379}
SENTINEL_PORT=${SENTINEL_PORT:-26379}
DATA=${DATA:-/data}
SELF=${SELF:-$(hostname).redis}
PEERS=${PEERS:-redis-0.redis redis-1.redis redis-2.redis}
SECRETS=${SECRETS:-/run/secrets/redis}

ask_others() {
  for peer in $PEERS; do
    [ "$peer" != "$SELF" ] || continue
    answer=$(timeout 2 redis-cli -h "$peer" -p "$SENTINEL_PORT" sentinel get-master-addr-by-name bascule 2>/dev/null | head -n 1)
    case $answer in
      '' | *' '*) ;; # nobody there, or an error
      *) echo "$answer"; return ;;
    esac
  done
}

remembered() {
  [ ! -f "$DATA/sentinel.conf" ] || sed -n 's/^sentinel monitor bascule \([^ ]*\) .*/\1/p' "$DATA/sentinel.conf" | head -n 1
}

primary() {
  name=$(ask_others)
  [ -n "$name" ] || name=$(remembered)
  echo "${name:-${PEERS%% *}}"
}
