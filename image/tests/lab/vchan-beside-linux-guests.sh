#!/bin/bash
# vchan between two unikernels, and between two Linux guests with Debian's libxenvchan, in turn: a table, whatever it says
# measures
# timeout: 1200
# soak timeout: 3600
. "$JOB/lab/lib.sh"
need bin/libxenvchan-bench

rounds=3 messages=300000 round_trips=1000 blocks=12000
[ -z "$SOAK" ] || rounds=7 messages=3000000 round_trips=10000 blocks=120000

# The Linux guests are booted once, and idle while it is not their turn.
for end in server client; do
  GUEST_MEMORY=160 linux_guest "linux-$end"
  order "linux-$end" true
done
for end in server client; do obeyed "linux-$end"; done

# Each pair prints the server's line, and then the client's. linux_pair PARAMETER...
linux_pair() {
  local server client
  server=$(domid linux-server) client=$(domid linux-client)
  order linux-server "libxenvchan-bench role=server peer=$client path=data/vchan/$client/bench $*"
  order linux-client "libxenvchan-bench role=client peer=$server path=/local/domain/$server/data/vchan/$client/bench $*"
  obeyed linux-server
  obeyed linux-client
  read_key linux-server data/said
  read_key linux-client data/said
}
unikernel_pair() {
  local end
  ON_POWEROFF=preserve create server vchan-bench 4 "role=server $*"
  ON_POWEROFF=preserve create client vchan-bench 4 "role=client $*"
  peer server vchan-bench "$(domid client)"
  peer client vchan-bench "$(domid server)"
  for end in server client; do wait_powered_off "$end"; done
  for end in server client; do
    grep -a '^{"bench":"vchan"' "$(console "$end")" || fail "the $end gave no figures"
    xl destroy "$PREFIX$end"
    rm "$(console "$end")"
  done
}
# value LINE KEY: a whole number out of a line.
value() { sed -nE "s/.*\"$2\":([0-9]+).*/\1/p" <<<"$1"; }

# measure PAIR MODE SIZE COUNT API [PARAMETER...]: runs it, holds it to the count, and keeps the figure: round trips in
# nanoseconds, messages, or for large ones bytes per second.
declare -A FIGURES EVENTS
measure() {
  local pair=$1 mode=$2 size=$3 count=$4 api=$5 key=messages_per_s lines server client figure
  shift 5
  lines=$("${pair}_pair" "mode=$mode" "size=$size" "count=$count" "api=$api" "$@") || fail "$lines"
  echo "$pair: $lines"
  { read -r server && read -r client; } <<<"$lines"
  [ "$(value "$client" count) $(value "$client" bytes_sent)" = "$count $((size * count))" ] || fail "$pair: the client did other work"
  [ "$(value "$server" bytes_received)" = $((size * count)) ] || fail "$pair: the server got something else"
  [ $# = 0 ] || return
  [ "$size" -lt 1024 ] || key=bytes_per_s
  [ "$mode" = sink ] || key=p50
  figure=$(value "$client" "$key")
  [ -n "$figure" ] || fail "$pair: no $key in $client"
  FIGURES[$pair $mode $size $api]+=" $figure"
  EVENTS[$pair $mode $size $api]=$(($(value "$client" events_sent) + $(value "$server" events_sent)))
}

apis() { [ "$1" = linux ] && echo packet stream || echo packet stream zerocopy; }
# That what comes is what was sent is looked at once, and not while it is measured.
for pair in linux unikernel; do
  for api in $(apis $pair); do
    measure $pair sink 64 20000 "$api" check=on
    measure $pair sink 4096 2000 "$api" check=on
    measure $pair echo 64 200 "$api" check=on
  done
done
for ((round = 1; round <= rounds; round++)); do
  for pair in linux unikernel; do
    for api in $(apis $pair); do
      measure $pair sink 64 $messages "$api"
      measure $pair sink 4096 $blocks "$api"
      measure $pair echo 64 $round_trips "$api"
    done
  done
done

# better A B: of two figures for the work at hand.
better() { [ "$mode" = echo ] && echo $(($1 < $2 ? $1 : $2)) || echo $(($1 > $2 ? $1 : $2)); }
echo "medians of $rounds rounds in turn; each ratio is to the better mode of libxenvchan"
while read -r mode size count what; do
  echo "$what, $mode, $size bytes, $count times"
  best=
  for pair in linux unikernel; do
    for api in $(apis $pair); do
      # shellcheck disable=SC2086 # one word per figure
      middle=$(median ${FIGURES[$pair $mode $size $api]})
      [ $pair = unikernel ] || best=$(better "$middle" "${best:-$middle}")
      echo "  $pair $api: $middle, $(awk -v a="$middle" -v b="$best" 'BEGIN { printf "%.2f", a / b }') times," \
        "${EVENTS[$pair $mode $size $api]} events; each${FIGURES[$pair $mode $size $api]}"
    done
  done
done <<EOF
sink 64 $messages messages a second
echo 64 $round_trips nanoseconds of a round trip, half of them took less
sink 4096 $blocks bytes a second
EOF
no_crash
