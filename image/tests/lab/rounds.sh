#!/bin/bash
# Twenty domains created and destroyed leave no grant, event channel, domain or xenstore entry behind
# timeout: 400
. "$JOB/lab/lib.sh"

leak_snapshot "$CONFIGS/before"
for ((round = 1; round <= 20; round++)); do
  if ((round % 2)); then
    # Cut off while it waits for a peer that never comes, with its watch and its edge open.
    create "r$round" probe 2 "in.x=?"
    wait_state "r$round" "waiting x"
    xl destroy "${PREFIX}r$round" || fail "round $round: xl destroy failed"
  else
    create "r$round" probe 2 ""
    wait_gone "r$round"
  fi
done
leak_check "$CONFIGS/before"
