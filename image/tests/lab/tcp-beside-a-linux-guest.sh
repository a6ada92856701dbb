#!/bin/bash
# TCP to dom0 from a unikernel and from a Linux guest, in turn, both directions: a table, whatever it says
# measures
# timeout: 600
# soak timeout: 3600
. "$JOB/lab/lib.sh"
need bin/tcp-peer
private_bridge

# Messages of 64 KiB, enough of them that slow start is over long before the end.
size=65536 count=1000 rounds=3
[ -z "$SOAK" ] || count=8000 rounds=7
peer() { "$JOB/bin/tcp-peer" "$@" >/dev/null || fail "tcp-peer $*"; }

# The Linux guest is booted once. It waits for dom0 each time, so that it is idle while it is not its turn.
linux_guest linux 10.9.0.80/24 "for round in $(seq -s ' ' $rounds); do
  tcp-peer server 5001 sink $size $count && tcp-peer server 5002 sink 1 1 && tcp-peer client 10.9.0.1 5003 sink $size $count; done"
wait_console linux '^running'

# Each run prints its bytes per second by the guest's own clock; the program in dom0 is the same for both guests.
unikernel_in() {
  bench guest "role=server addr=0.0.0.0:5001 mode=sink size=$size count=$count ip=10.9.0.77/24"
  wait_console guest 'listening on port 5001'
  peer client 10.9.0.77 5001 sink $size $count
  unikernel_figure
}
unikernel_out() {
  peer server 5004 sink $size $count &
  local peer=$!
  bench guest "role=client addr=10.9.0.1:5004 mode=sink size=$size count=$count ip=10.9.0.77/24"
  wait $peer || fail "the unikernel's peer"
  unikernel_figure
}
unikernel_figure() {
  wait_powered_off guest
  bench_figure guest bytes_per_s
  xl destroy "${PREFIX}guest"
  rm "$(console guest)"
}
linux_in() {
  peer client 10.9.0.80 5001 sink $size $count
  linux_figure $((2 * round - 1))
}
linux_out() {
  peer server 5003 sink $size $count &
  local peer=$!
  peer client 10.9.0.80 5002 sink 1 1
  wait $peer || fail "the Linux guest's peer"
  linux_figure $((2 * round))
}
# linux_figure N: of its N-th run.
linux_figure() {
  local line="^$((size * count)) bytes, ([0-9]+) per second.*"
  enough() { [ "$(grep -acE "$line" "$(console linux)")" -ge "$1" ]; }
  until_true "$PATIENCE" enough "$1" || fail "the Linux guest gave no figure"
  sed -nE "s/$line/\1/p" "$(console linux)" | sed -n "$1p"
}

declare -A figures
for ((round = 1; round <= rounds; round++)); do
  for run in unikernel_in linux_in unikernel_out linux_out; do
    figure=$($run) || fail "$figure"
    [[ $figure =~ ^[0-9]+$ ]] || fail "$run: no figure but '$figure'"
    figures[$run]+=" $figure"
  done
done

echo "bytes per second, $count messages of $size bytes, $rounds rounds in turn"
for direction in in out; do
  for guest in unikernel linux; do
    # shellcheck disable=SC2086 # one word per figure
    middle=$(median ${figures[${guest}_$direction]})
    echo "$direction $guest: median $middle, each${figures[${guest}_$direction]}"
    declare "$guest=$middle"
  done
  # shellcheck disable=SC2154 # declared just now
  echo "$direction unikernel : linux = $(awk -v a="$unikernel" -v b="$linux" 'BEGIN { printf "%.2f", a / b }')"
done
no_crash
