#!/bin/bash
# vchan's checks of a platform, in a unikernel and in dom0, each with both ends in one domain, and nothing left
# timeout: 300
. "$JOB/lab/lib.sh"

leak_snapshot "$CONFIGS/before"
keys() { xenstore-ls "/local/domain/$1/data" 2>/dev/null | grep -cE 'ring-ref|event-channel'; }
probe idle 32 "do=idle"
probe suite 32 "do=conformance"

path=/local/domain/0/data/vchan/0/suite
said=$("$JOB/bin/conformance" 0 "$path") || fail "the checks failed in dom0"
[[ $said =~ ^[1-9][0-9]*\ checks\ passed$ ]] || fail "in dom0: $said"
! xenstore-exists "$path" || fail "in dom0 the offer is still there"

wait_console suite 'conformance: [1-9][0-9]* checks passed'
says suite conformance '^[1-9][0-9]* checks passed$'
id=$(domid suite)
[ "$(keys "$id")" = 0 ] || fail "keys are left in xenstore"
# As many ports as a domain that has done nothing.
ports=$(lsevtchn "$(domid idle)" | wc -l)
[ "$ports" -gt 0 ] || fail "no port of an idle domain is seen"
[ "$(lsevtchn "$id" | wc -l)" = "$ports" ] || fail "ports are left: $(lsevtchn "$id")"
no_crash
xl destroy "$id"
xl destroy "$(domid idle)"
leak_check "$CONFIGS/before"
