#!/bin/bash
# In a Linux guest: vcat and a unikernel, both roles, bytes compared, either end destroyed is seen; feed; a stage as a program; at length, vchan's checks
# timeout: 300
# soak timeout: 1200
. "$JOB/lab/lib.sh"

rings=1024
[ -z "$SOAK" ] || rings="1024 2048 4096 16384 65536 1048576"

leak_snapshot "$CONFIGS/before"
linux_guest linux
linux=$(domid linux)
order linux "head -c 300001 /dev/urandom >/in && crc32 /in"
obeyed linux
sum="300001 bytes, crc32 $(read_key linux data/said | cut -d' ' -f1)"
for ring in $rings; do
  # The unikernel offers and echoes, vcat connects.
  probe "echo$ring" 4 "do=echo in.e=$linux,ring=$ring"
  id=$(domid "echo$ring")
  order linux "vcat connect -v --wait $PATIENCE --linger 5 xen:$id:/local/domain/$id/data/vchan/$linux/e </in >/out && cmp /in /out"
  obeyed linux
  wait_powered_off "echo$ring"
  says "echo$ring" edge/e "^echoed $sum\$"

  # vcat offers and echoes by a program, the unikernel connects.
  probe "exchange$ring" 4 "do=exchange out.e=$linux bytes=200003 seed=$ring"
  id=$(domid "exchange$ring")
  order linux "vcat listen -v --wait $PATIENCE --ring $ring --back $((ring == 1024 ? 2048 : ring)) xen:$id:data/vchan/$id/e -- tee /echoed &&
    echo \$(wc -c </echoed) bytes, crc32 \$(crc32 /echoed)"
  obeyed linux
  wait_powered_off "exchange$ring"
  [[ $(read_key linux data/said) =~ ^([0-9]+ bytes, crc32 [0-9a-f]{8})( |$) ]] || fail "the guest said '$(read_key linux data/said)'"
  says "exchange$ring" edge/e "^exchanged ${BASH_REMATCH[1]}\$"
done

# A program of the guest feeds a stage.
ON_POWEROFF=preserve create fed log 1 "in.e=$linux"
id=$(domid fed)
order linux "seq 300 | grantflow feed --to $id/e --format numbers --name n"
obeyed linux
wait_powered_off fed
[ "$(counter fed stats/stage used) $(counter fed stats/in/e lost)" = "300 0" ] || fail "fed: $(read_key fed data/grantflow/stats/in/e)"

# A stage is a program of the guest, between two unikernels.
ON_POWEROFF=preserve create source sensor 1 "signal=sine rate=max count=3000 name.1=s out.raw=$linux"
ON_POWEROFF=preserve create sink log 1 "in.smooth=$linux"
order linux "filter --xen stage=smooth in.raw=$(domid source) out.smooth=$(domid sink)"
obeyed linux
wait_powered_off source
wait_powered_off sink
[ "$(counter sink stats/stage used) $(counter sink stats/in/smooth lost)" = "3000 0" ] ||
  fail "through the guest came: $(read_key sink data/grantflow/stats/in/smooth)"
[ "$(read_key linux data/grantflow/state)" = 'done' ] || fail "the program's state in the guest: $(read_key linux data/grantflow/state)"
[ "$(counter linux stats/stage in) $(counter linux stats/stage out)" = "3000 3000" ] || fail "counted: $(read_key linux data/grantflow/stats/stage)"
for name in fed source sink; do xl destroy "$PREFIX$name"; done

if [ -n "$SOAK" ]; then
  order linux "conformance $linux /local/domain/$linux/data/vchan/$linux/suite"
  obeyed linux
  said=$(read_key linux data/said)
  [[ $said =~ ^[1-9][0-9]*\ checks\ passed$ ]] || fail "the checks in the guest: $said"
fi

# A unikernel that is destroyed says nothing: vcat finds it out from Xen, in both roles.
died() { [[ $(read_key linux data/said) == *"the peer died"* ]] || fail "vcat said '$(read_key linux data/said)' of a destroyed unikernel"; }
probe reader 4 "in.e=$linux"
id=$(domid reader)
order linux "! vcat connect --wait $PATIENCE xen:$id:/local/domain/$id/data/vchan/$linux/e recv:/dev/null"
wait_state reader running
xl destroy "${PREFIX}reader"
obeyed linux
died
probe writer 4 "count=1000000 every=20ms out.e=$linux"
id=$(domid writer)
order linux "! vcat listen --wait $PATIENCE xen:$id:data/vchan/$id/e recv:/dev/null"
wait_state writer running
leak_visible "$CONFIGS/before"
xl destroy "${PREFIX}writer"
obeyed linux
died

# So does the unikernel, when the guest goes.
probe reader2 4 "in.e=$linux"
id=$(domid reader2)
order linux "vcat connect --wait $PATIENCE xen:$id:/local/domain/$id/data/vchan/$linux/e recv:/dev/null"
wait_state reader2 running
xl destroy "${PREFIX}linux"
wait_state reader2 "stale e"
for id in $(xl list | awk -v prefix="$PREFIX" 'NR > 1 && index($1, prefix) == 1 { print $2 }'); do xl destroy "$id"; done
leak_check "$CONFIGS/before"
