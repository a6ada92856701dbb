#!/bin/bash
# R8 R9 R12 R14 R15: reader and writer destroyed and made anew, one, the other, both, told in either order; a thousand times in the long form
# timeout: 300
# soak timeout: 14400
. "$JOB/lab/lib.sh"

leak_snapshot "$CONFIGS/before"
generation=0
born() {
  case $1 in
    reader) probe reader 4 "in.e=?" ;;
    writer) probe writer 4 "count=1000000 every=20ms out.e=?" ;;
  esac
}
tell() {
  case $1 in
    reader) peer reader e "$(domid writer)" "$generation" ;;
    writer) peer writer e "$(domid reader)" "$generation" ;;
  esac
}
comes() { [ "$(counter reader stats/in/e readings)" -gt 20 ]; }
goes_on() {
  local before
  before=$(counter reader stats/in/e readings)
  more() { [ "$(counter reader stats/in/e readings)" -gt $((before + 20)) ]; }
  until_true "$PATIENCE" more || fail "round $round: nothing more comes after $before readings"
}
born reader
born writer
rounds=4
[ -z "${SOAK:-}" ] || rounds=1000
for ((round = 0; round < rounds; round++)); do
  # Each way to restart with each way to tell, as the rounds go on.
  case $((round % 4)) in
    0) order="writer reader" ;;
    1) xl destroy "${PREFIX}writer" && born writer && order="reader writer" ;;
    2) xl destroy "${PREFIX}reader" && born reader && order="writer reader" ;;
    3) xl destroy "${PREFIX}reader" && xl destroy "${PREFIX}writer" && born writer && born reader && order="reader writer" ;;
  esac || fail "round $round: a domain was not destroyed and made anew"
  generation=$((round + 1))
  for stage in $order; do tell "$stage"; done
  wait_state reader running
  wait_state writer running
  until_true "$PATIENCE" comes || fail "round $round: nothing comes"
  goes_on
  # Of another generation's stream not even a part of a pack is taken for one of this.
  [ "$(counter reader stats/in/e bad)" = 0 ] || fail "round $round: $(read_key reader data/grantflow/stats/in/e)"
  [ $round != 0 ] || leak_visible "$CONFIGS/before"
  # shellcheck disable=SC2012
  [ "$(xl list | grep -c "^$PREFIX")" = 2 ] || fail "round $round: a domain stays behind: $(xl list | tail -n +3)"
done
xl destroy "${PREFIX}reader"
xl destroy "${PREFIX}writer"
leak_check "$CONFIGS/before"
echo "$rounds rounds"
