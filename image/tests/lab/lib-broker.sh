# Helpers for scenarios with an MQTT broker, read after lib.sh:  . "$JOB/lab/lib-broker.sh"
# The broker is Debian's Mosquitto at $BROKER in dom0, on a bridge of the scenario's own.
for program in mosquitto mosquitto_passwd mosquitto_pub mosquitto_sub; do need bin/$program; done
private_bridge

BROKER=10.9.0.1
BROKER_FOLDER=$CONFIGS/broker
# What the subscriber got: lines of TOPIC, `id:BOOT-SEQUENCE` and payload between tabs.
RECEIVED=$CONFIGS/received
SUBSCRIBERS=0
mkdir -p "$BROKER_FOLDER/state"
# What the broker has for a subscriber, which takes all at once, goes to the kernel, and does not wait in a memory that dies
# with it.
for sizes in tcp_rmem tcp_wmem; do echo '4096 4194304 8388608' >/proc/sys/net/ipv4/$sizes; done

# start_broker [LINE...]: starts Mosquitto, with these lines in its configuration; without any, as it was started before.
start_broker() {
  local config=$BROKER_FOLDER/conf before line
  if [ $# -gt 0 ] || [ ! -e "$config" ]; then
    # It drops nothing for a slow subscriber.
    printf '%s\n' "listener 1883 $BROKER" 'user root' 'log_dest stderr' 'log_type error' 'log_type warning' \
      'log_type notice' 'log_type information' 'log_type subscribe' 'max_queued_messages 0' \
      "persistence_location $BROKER_FOLDER/state/" "$@" >"$config"
    for line in 'allow_anonymous true' 'persistence true' 'max_inflight_messages 0'; do
      grep -q "^${line% *} " "$config" || echo "$line" >>"$config"
    done
  fi
  before=$(broker_said ' running$')
  SUBSCRIPTIONS_BEFORE=$(broker_said ': subscriber ')
  "$JOB/bin/mosquitto" -c "$config" >>"$BROKER_FOLDER/log" 2>&1 &
  BROKER_PID=$!
  runs() { [ "$(broker_said ' running$')" -gt "$before" ]; }
  until_true "$PATIENCE" runs || fail "mosquitto did not start: $(tail -n 3 "$BROKER_FOLDER/log")"
}
# broker_said REGEX: how many lines of its log match.
broker_said() {
  if [ -e "$BROKER_FOLDER/log" ]; then grep -cE -- "$1" "$BROKER_FOLDER/log"; else echo 0; fi
}
# stop_broker: ends it in order.
stop_broker() {
  kill -s CONT "$BROKER_PID"
  kill -s TERM "$BROKER_PID"
  wait "$BROKER_PID" 2>/dev/null
}
# kill_broker: ends it in the midst of whatever it does for the gateway. It acknowledges a message before it has written it
# down: so that only the gateway can lose one, subscribers are there, and have read what it sent to them. One that is still
# about to acknowledge throws the rest away. A subscriber has subscribed once the broker has sent it what it had kept for it;
# it is connected before that.
kill_broker() {
  all_there() { [ "$(broker_said ': subscriber ')" -ge $((SUBSCRIPTIONS_BEFORE + SUBSCRIBERS)) ]; }
  until_true "$PATIENCE" all_there || fail "a subscriber does not come back: $(tail -n 3 "$BROKER_FOLDER/log")"
  kill -s STOP "$BROKER_PID"
  # On its way from the broker to a subscriber, or there and unread.
  all_read() {
    ! netstat -tn | awk -v broker="$BROKER:1883" -v here="$BROKER:" '
      $4 == broker && index($5, here) == 1 { unread += $3 }
      $5 == broker { unread += $2 }
      END { exit !unread }'
  }
  until_true "$PATIENCE" all_read || fail "a subscriber does not read: $(netstat -tn)"
  kill -s KILL "$BROKER_PID"
  wait "$BROKER_PID" 2>/dev/null
}
# password USER PASSWORD: sets a password in its file `passwords`; a broker that runs takes it at once.
password() {
  touch "$BROKER_FOLDER/passwords"
  "$JOB/bin/mosquitto_passwd" -b "$BROKER_FOLDER/passwords" "$1" "$2" || fail "mosquitto_passwd"
  [ -z "${BROKER_PID:-}" ] || kill -s HUP "$BROKER_PID"
}

# subscribe TOPIC [PAYLOAD]: writes what comes there to $RECEIVED, with a session that outlives connections. PAYLOAD is %p,
# the text as it is, or %x, its digits in base 16.
subscribe() {
  local before
  before=$(broker_said ': subscriber ')
  SUBSCRIBERS=$((SUBSCRIBERS + 1))
  "$JOB/bin/mosquitto_sub" -h "$BROKER" -V 5 -q 1 -t "$1" -c -i "subscriber $1" -x 3600 \
    -D connect receive-maximum 65535 \
    -F $'message\t%t\t%P\t'"${2:-%p}" >>"$RECEIVED" 2>&1 &
  # What it says of itself stays in its buffer until a message comes.
  subscribed() { [ "$(broker_said ': subscriber ')" -gt "$before" ]; }
  until_true "$PATIENCE" subscribed || fail "mosquitto_sub has not subscribed: $(tail -n 3 "$BROKER_FOLDER/log")"
}
# retained TOPIC: the message that the broker keeps there.
retained() { "$JOB/bin/mosquitto_sub" -h "$BROKER" -V 5 -t "$1" -C 1 -W 10 -F '%p' --retained-only; }
# account [TOPIC]: what has come there (everywhere, without TOPIC), in pairs: different messages, how many of them came again,
# numbers missing from 1 to the highest, readings in different messages, starts of gateways, ids used for two messages.
account() {
  awk -F '\t' -v topic="${1:-}" '
    # As many as there are values in JSON, or as the array of a CBOR pack says in its first bytes.
    function readings_in(payload,   count, digit) {
      if (payload !~ /^99/) return gsub(/"v":/, "", payload)
      for (digit = 3; digit <= 6; digit++) count = count * 16 + index("123456789abcdef", substr(payload, digit, 1))
      return count
    }
    $1 != "message" || $3 !~ /^id:/ || (topic != "" && $2 != topic) { next }
    $3 in message { again += !($3 in twice); twice[$3]; mixed += message[$3] != $2 $4; next }
    {
      message[$3] = $2 $4; messages++; readings += readings_in($4)
      split(substr($3, 4), part, "-")
      starts += !(part[1] in highest)
      if (part[2] + 0 > highest[part[1]]) highest[part[1]] = part[2] + 0
    }
    END {
      for (start in highest) missing += highest[start]
      printf "messages=%d again=%d missing=%d readings=%d starts=%d mixed=%d\n",
        messages, again, missing - messages, readings, starts, mixed
    }' "$RECEIVED"
}
# received KEY [TOPIC]: one figure of the account.
received() { account "${2:-}" | tr ' ' '\n' | sed -n "s/^$1=//p"; }
# wait_received READINGS [TOPIC]
wait_received() {
  enough() { [ "$(received readings "${2:-}")" -ge "$1" ]; }
  until_true "$PATIENCE" enough "$@" && return
  tail -n 20 "$BROKER_FOLDER/log"
  fail "of $1 readings came: $(account "${2:-}"); not: $(gaps)"
}
# gaps: the first twenty ids that did not come, though a later one of the same start did.
gaps() {
  awk -F '\t' '
    $1 != "message" || $3 !~ /^id:/ { next }
    { came[$3]; split(substr($3, 4), part, "-"); if (part[2] + 0 > highest[part[1]]) highest[part[1]] = part[2] + 0 }
    END { for (start in highest) for (n = 1; n <= highest[start]; n++) if (!("id:" start "-" n in came)) print start "-" n }
  ' "$RECEIVED" | head -n 20 | tr '\n' ' '
}
# received_exactly TOPIC PAIR...: each stands in the account of that topic; of all, where it is empty.
received_exactly() {
  local account pair topic=$1
  shift
  account=$(account "$topic")
  for pair in "$@"; do
    [[ " $account " == *" $pair "* ]] || fail "${topic:-everywhere}: the subscriber got $account, not $pair"
  done
}

# gateway NAME EXTRA [MODULE]: boots the gateway on that bridge, and keeps it to look at when it has ended. IP and
# BROKER say where it and its broker are.
gateway() {
  CONFIG="vif = ['bridge=$BRIDGE']" ON_POWEROFF=preserve create "$1" gateway 8 \
    "ip=${IP:-10.9.0.77/24} broker=$BROKER $2" "${@:3}"
}
# sensor NAME EXTRA: boots a sensor that makes readings up, likewise.
sensor() { ON_POWEROFF=preserve create "$1" sensor 1 "signal=sine $2"; }
# connect WRITER READER EDGE: tells both of each other.
connect() {
  peer "$1" "$3" "$(domid "$2")"
  peer "$2" "$3" "$(domid "$1")"
}
# own NAME KEY: a counter of the gateway.
own() { counter "$1" stats/own "$2"; }
# balanced NAME: no reading and no message of this gateway is unaccounted for.
balanced() {
  local node
  for node in stage own; do
    read_key "$1" "data/grantflow/stats/$node" | tr ' ' '\n' | awk -F = -v node="$node" '
      { value[$1] = $2 }
      END {
        for (key in value) if (key !~ /^(in|used|out|heap)$/) dropped += value[key]
        if (node == "stage") exit !(value["in"] > 0 && value["in"] == value["used"] + dropped)
        kept = value["acknowledged"] + value["queue"] + value["large"] + value["refused"] + value["end"] + value["queued"]
        exit !(value["accepted"] > 0 && value["accepted"] == kept)
      }' || fail "$1 does not balance: $(read_key "$1" "data/grantflow/stats/$node")"
  done
}
# rests SECONDS NAME...: over that time each uses less than 5 % of one CPU. Attempts to reach a broker are not quite nothing,
# and count for more on a machine that does other things as well; one that never waits uses all of it.
rests() {
  local name seconds=$1
  local -A before
  shift
  for name in "$@"; do before[$name]=$(cpu_tenths "$name"); done
  sleep "$seconds"
  for name in "$@"; do
    [ $(($(cpu_tenths "$name") - ${before[$name]})) -le $((seconds / 2)) ] ||
      fail "$name used $(($(cpu_tenths "$name") - ${before[$name]})) tenths of a second of CPU in $seconds s"
  done
}
# warnings NAME: how many lines of its console warn.
warnings() { grep -acE '^\[ *[0-9.]+\] (warning|error): ' "$(console "$1")"; }
# complains NAME REGEX [ATTEMPTS]: its console warns of this and of nothing else: at the first of so many attempts, the
# second, the fourth, and so on.
complains() {
  local attempts=${3:-1} most=1
  wait_console "$1" "warning: broker .*$2"
  while [ $((attempts /= 2)) -gt 0 ]; do most=$((most + 1)); done
  [ "$(warnings "$1")" -le "$most" ] || fail "$1 gave $(warnings "$1") lines of warnings in ${3:-1} attempts"
  ! grep -aE '\] (warning|error): ' "$(console "$1")" | grep -vqE "$2" || fail "$1 warned of something else than /$2/"
}
