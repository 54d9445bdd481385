# Names this server and the primary for the two that start with it. Of what the others' Sentinels say and what this one's knew last
# counts that of the latest fail-over: the others may be those that missed it. At the very first start it is the first server.
#
# For trials elsewhere: SELF, PEERS, DATA, SECRETS, PORT, SENTINEL_PORT, BIND.

PORT=${PORT:-6379}
SENTINEL_PORT=${SENTINEL_PORT:-26379}
DATA=${DATA:-/data}
SELF=${SELF:-$(hostname).redis}
PEERS=${PEERS:-redis-0.redis redis-1.redis redis-2.redis}
SECRETS=${SECRETS:-/run/secrets/redis}

# Both print lines of a configuration epoch, which counts fail-overs, and a primary.
ask_others() {
  for peer in $PEERS; do
    [ "$peer" != "$SELF" ] || continue
    printf 'sentinel %s bascule\n' get-master-addr-by-name master |
      timeout 2 redis-cli -h "$peer" -p "$SENTINEL_PORT" 2>/dev/null | {
        read -r named && read -r _port || named=
        epoch=0
        while read -r name && read -r value; do
          [ "$name" != config-epoch ] || epoch=$value
        done
        case $named in
          '' | *' '*) ;; # nobody there, or an error
          *) echo "$epoch $named" ;;
        esac
      }
  done
}

remembered() {
  [ -f "$DATA/sentinel.conf" ] || return 0
  named=$(sed -n 's/^sentinel monitor bascule \([^ ]*\) .*/\1/p' "$DATA/sentinel.conf" | head -n 1)
  epoch=$(sed -n 's/^sentinel config-epoch bascule //p' "$DATA/sentinel.conf" | head -n 1)
  [ -z "$named" ] || echo "${epoch:-0} $named"
}

primary() {
  latest=$({ ask_others; remembered; } | sort -s -n -r -k 1,1 | head -n 1)
  latest=${latest#* }
  echo "${latest:-${PEERS%% *}}"
}
