#!/bin/bash
# vchan-bench in both roles, sink and echo, by every api, against itself and a C program with libxenvchan: every byte checked
# timeout: 180
# soak timeout: 600
. "$JOB/lab/lib.sh"
need bin/vchan-peer
peer_in_c() { "$JOB/bin/vchan-peer" "$@"; }

# ended NAME SIZE COUNT SENT RECEIVED: powered off, after a line that says that so many bytes went each way and were looked at;
# LINE is that line.
ended() {
  wait_gone "$1"
  LINE=$(bench_line "$1")
  echo "$LINE"
  [[ $LINE == '{"bench":"vchan",'"\"size\":$2,\"count\":$3,"*'"wire":"stock",'*"\"bytes_sent\":$4,\"bytes_received\":$5,\"checked\":true}" ]] ||
    fail "$1: not $4 bytes out and $5 in"
  ! grep -aqE 'WARN|ERROR' "$(console "$1")" || fail "$1 warns"
}
# rings LINE: the part about them.
rings() { [[ $1 =~ \"left_ring.*ring\":[0-9]+ ]] && echo "${BASH_REMATCH[0]}"; }

# A machine that is busy takes long over each sleep and wake, so that there are only some hundred of them.
leak_snapshot "$CONFIGS/before"

# start API MODE SIZE COUNT RING: a pair of unikernels.
start() {
  local load="api=$1 mode=$2 size=$3 count=$4 check=on" server="$1-$2-server" client="$1-$2-client"
  vchan_bench "$server" "role=server $load ring=$5"
  vchan_bench "$client" "role=client $load wire=auto"
  local home=/local/domain servers clients
  servers=$(domid "$server") clients=$(domid "$client")
  xenstore-write "$home/$servers/grantflow/peer/vchan-bench" "$clients 1" "$home/$clients/grantflow/peer/vchan-bench" "$servers 1"
}
# finish API MODE SIZE COUNT RING: how it went.
finish() {
  local server="$1-$2-server" client="$1-$2-client" bytes=$(($3 * $4)) back=0 seen
  [ "$2" = sink ] || back=$bytes
  ended "$client" "$3" "$4" $bytes $back
  seen=$(rings "$LINE")
  case $2 in
    sink) [[ $LINE == *'"rtt_ns":null,'* ]] ;;
    echo) [[ $LINE =~ '"rtt_ns":{"p50":'[1-9] ]] ;;
  esac || fail "$1 $2: no round trips, or some too many"
  ended "$server" "$3" "$4" $back $bytes
  [ "$(rings "$LINE")" = "$seen" ] || fail "$1 $2: the two ends saw rings of different sizes"
}
each_pair() {
  "$1" packet sink 64 50000 64K
  "$1" packet echo 1000 50 1K
  "$1" stream sink 5003 20 1K
  # Longer than both rings, so that it comes back while it goes.
  "$1" stream echo 70001 5 16K
  "$1" zerocopy sink 4095 300 16K
  # Longer than the buffer between two rings; the server makes what goes back in its ring.
  "$1" zerocopy echo 100000 10 128K
}
each_pair start
each_pair finish

# c_server WORK API MODE SIZE COUNT RING: a C program offers, at a path of its own in dom0; a unikernel connects. c_client: the
# unikernel offers, at a path in its own folder.
c_server() {
  local name="c-$1" path="/local/domain/0/data/vchan/bench-$1"
  vchan_bench "$name" "role=client peer=0 path=$path api=$2 mode=$3 size=$4 count=$5 check=on"
  peer_in_c "$1" server "$(domid "$name")" "$path" "$6" "$6" >"$CONFIGS/$1" || fail "the C server that is to $1"
}
c_client() {
  local name="c-$1" path="data/vchan/0/bench-$1" id
  vchan_bench "$name" "role=server peer=0 path=$path ring=$6 api=$2 mode=$3 size=$4 count=$5 check=on"
  id=$(domid "$name")
  peer_in_c "$1" client "$id" "/local/domain/$id/$path" 0 0 "$4" "$5" >"$CONFIGS/$1" || fail "the C client that is to $1"
}
# c_saw WORK SIZE COUNT OUT IN: both ends agree.
c_saw() {
  ended "c-$1" "$2" "$3" "$4" "$5"
  grep -q "^$(($2 * $3)) bytes, " "$CONFIGS/$1" || fail "the C program that is to $1 says $(cat "$CONFIGS/$1")"
}
c_server take packet sink 64 3000 4096
c_server echo stream echo 3000 10 1024
c_client send zerocopy sink 64 3000 16K
c_client ask packet echo 4096 10 16K
c_saw take 64 3000 192000 0
c_saw echo 3000 10 30000 30000
c_saw send 64 3000 0 192000
c_saw ask 4096 10 40960 40960

# A reader that has stopped is given up on.
if [ -n "$SOAK" ]; then
  PAUSED=1 vchan_bench left "role=client peer=0 path=/local/domain/0/data/vchan/left size=100 count=10"
  "$JOB/bin/vchan-peer" take server "$(domid left)" /local/domain/0/data/vchan/left 4096 4096 >/dev/null &
  until_true "$PATIENCE" xenstore-exists /local/domain/0/data/vchan/left/event-channel || fail "no C server"
  kill -STOP $!
  xl unpause "$(domid left)"
  ended_with left 'error: the peer has left 1000 bytes unread for 10 s; closing'
  xl destroy "${PREFIX}left"
  kill -KILL $!
  wait
  xenstore-rm /local/domain/0/data/vchan/left
fi
leak_check "$CONFIGS/before"
