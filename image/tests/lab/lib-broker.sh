# Helpers for scenarios with an MQTT broker, read after lib.sh:  . "$JOB/lab/lib-broker.sh"
# The broker is Debian's Mosquitto at $BROKER in dom0, on a bridge of its own: on the lab's, QEMU answers for every address
# that nobody else has.
need bin/mosquitto

BROKER=10.9.0.1
BROKER_FOLDER=$CONFIGS/broker
# What the subscriber got: lines of TOPIC, `id:BOOT-SEQUENCE` and payload between tabs.
RECEIVED=$CONFIGS/received
mkdir "$BROKER_FOLDER"
ip link add private0 type bridge && ip addr add "$BROKER/24" dev private0 && ip link set private0 up || fail "no bridge"
trap 'cleanup; ip link del private0' EXIT

# start_broker [LINE...]: starts Mosquitto, with these lines in its configuration; without any, as it was started before.
start_broker() {
  local config=$BROKER_FOLDER/conf before
  if [ $# -gt 0 ] || [ ! -e "$config" ]; then
    # It drops nothing for a slow subscriber.
    printf '%s\n' "listener 1883 $BROKER" 'user root' 'log_dest stderr' 'log_type error' 'log_type warning' \
      'log_type notice' 'log_type information' 'log_type subscribe' 'persistence true' \
      "persistence_location $BROKER_FOLDER/" 'max_queued_messages 0' "$@" >"$config"
    grep -q '^allow_anonymous' "$config" || echo 'allow_anonymous true' >>"$config"
  fi
  before=$(broker_said ' running$')
  "$JOB/bin/mosquitto" -c "$config" >>"$BROKER_FOLDER/log" 2>&1 &
  BROKER_PID=$!
  runs() { [ "$(broker_said ' running$')" -gt "$before" ]; }
  until_true "$PATIENCE" runs || fail "mosquitto did not start: $(tail -n 3 "$BROKER_FOLDER/log")"
}
# broker_said REGEX: how many lines of its log match.
broker_said() {
  if [ -e "$BROKER_FOLDER/log" ]; then grep -cE -- "$1" "$BROKER_FOLDER/log"; else echo 0; fi
}
# stop_broker [SIGNAL]: ends it, in order without a signal, and waits for that.
stop_broker() {
  kill -s "${1:-TERM}" "$BROKER_PID"
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
  "$JOB/bin/mosquitto_sub" -h "$BROKER" -V 5 -q 1 -t "$1" -c -i "subscriber $1" -x 3600 \
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
  until_true "$PATIENCE" enough "$@" || fail "of $1 readings came: $(account "${2:-}")"
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

# gateway NAME EXTRA [MODULE]: boots the gateway on the private bridge, and keeps it to look at when it has ended. IP and
# BROKER say where it and its broker are.
gateway() {
  CONFIG="vif = ['bridge=${BRIDGE:-private0}']" ON_POWEROFF=preserve create "$1" gateway 8 \
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
# warnings NAME: how many lines of its console warn.
warnings() { grep -acE '^\[ *[0-9.]+\] (warning|error): ' "$(console "$1")"; }
