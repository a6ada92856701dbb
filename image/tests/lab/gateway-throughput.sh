#!/bin/bash
# Readings a second over a vchan edge, over TCP to a broker, and what that broker takes from its own publisher: a table
# measures
# timeout: 400
. "$JOB/lab/lib.sh"
. "$JOB/lab/lib-broker.sh"

# 80 series, more than one pack holds readings: where {name} is in the topic, each reading is a message.
series=80
rows() {
  awk -v series=$series -v rows="$1" 'BEGIN {
    printf "time"
    for (s = 1; s <= series; s++) printf ",urn:dev:ow:10e2073a010800%02x:outside:temperature", s
    print ""
    for (row = 0; row < rows; row++) {
      printf "2026-01-01T%02d:%02d:00Z", int(row / 60), row % 60
      for (s = 1; s <= series; s++) printf ",%.2f", 20 + (row * 7 + s * 3) % 100 / 100
      print ""
    }
  }' >"$CONFIGS/$1.csv"
}
# stamp NAME WORD: when a line with it first came on its console, in microseconds of Xen's clock.
stamp() { grep -am 1 "^\[.*\] $2" "$(console "$1")" | sed -E 's/^\[ *([0-9]+)\.([0-9]+)\].*/\1\2/'; }
# row WHAT READINGS MICROSECONDS: a line of the table, and one in $CONFIGS/rates.
row() {
  local rate=$(($2 * 1000000 / $3))
  printf '%-24s %8s readings %8s us %8s a second\n' "$1" "$2" "$3" $rate
  echo "$1=$rate" >>"$CONFIGS/rates"
}
# median WHAT: of its rounds.
median() { sed -n "s/^$1=//p" "$CONFIGS/rates" | sort -n | sed -n 2p; }
# measure WHAT NAME ROWS: feeds it so many rows, and says how long it took from when both ends of the edge stood until the last
# reading was used, or acknowledged. Dom0 does next to nothing else meanwhile: it has one CPU, which the broker needs.
measure() {
  local name=$2 readings=$(($3 * series))
  ON_POWEROFF=preserve create "$name-source" sensor 4 'out.e=?' "$CONFIGS/$3.csv"
  connect "$name-source" "$name" e
  for ((seconds = 0; seconds < PATIENCE; seconds++)); do
    sleep 1
    grep -aq '\] done' "$(console "$name")" && break
  done
  wait_powered_off "$name"
  [ "$(counter "$name" stats/stage used)" = $readings ] || fail "$name: $(read_key "$name" data/grantflow/stats/stage)"
  row "$1" $readings $(($(stamp "$name" 'done') - $(stamp "$name-source" running)))
  xl destroy "$PREFIX$name-source"
  xl destroy "$PREFIX$name"
}
few=80 many=600
rows $few
rows $many
awk 'BEGIN { for (line = 0; line < 6400; line++) printf "[{\"bn\":\"urn:dev:ow:10e2073a01080001:outside:temperature\",\"bt\":%d,\"v\":20.03}]\n", 1767225600 + line }' >"$CONFIGS/lines"

for round in 1 2 3; do
  probe edge-$round 4 'in.e=?'
  measure 'vchan edge' edge-$round $many
  # As Debian configures it, and without a limit.
  for window in 20 0; do
    start_broker "max_inflight_messages $window" 'persistence false'
    start=${EPOCHREALTIME/./}
    "$JOB/bin/mosquitto_pub" -h $BROKER -V 5 -q 1 -t lines -l <"$CONFIGS/lines" || fail "mosquitto_pub"
    row "mosquitto_pub, window $window" 6400 $((${EPOCHREALTIME/./} - start))
    for way in "{name} json $few" "all json $many" "all cbor $many"; do
      read -r topic format rows <<<"$way"
      name=$format-${topic//[^a-z]/}-$window-$round
      gateway "$name" "in.e=? topic=$topic format=$format"
      wait_console "$name" 'connected'
      case $topic in all) kind="packs" ;; *) kind="messages" ;; esac
      measure "$kind, $format, window $window" "$name" "$rows"
    done
    stop_broker
  done
done

echo "medians of three rounds, and how much more the edge carries:"
edge=$(median 'vchan edge')
cut -d= -f1 "$CONFIGS/rates" | sort -u | while read -r what; do
  printf '%-24s %8s a second %6s.%s times\n' "$what" "$(median "$what")" $((edge / $(median "$what"))) $((edge * 10 / $(median "$what") % 10))
done
no_crash
