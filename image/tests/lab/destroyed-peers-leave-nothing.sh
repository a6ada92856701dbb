#!/bin/bash
# R12: A domain destroyed while a peer has its pages mapped is gone soon: the peer lets go of them, and nothing is left
# timeout: 400
. "$JOB/lab/lib.sh"

leak_snapshot "$CONFIGS/before"
for round in 1 2; do
  probe "reader$round" 4 "in.e=?"
  probe "writer$round" 4 "count=1000000 every=20ms out.e=?"
  peer "writer$round" e "$(domid "reader$round")"
  peer "reader$round" e "$(domid "writer$round")"
  wait_state "writer$round" running
  wait_state "reader$round" running
  leak_visible "$CONFIGS/before"
  # A domain does not die while the writer maps its pages, and xl waits for it.
  timeout "$PATIENCE" xl destroy "${PREFIX}reader$round" || fail "round $round: the writer keeps the dead reader's pages"
  no_zombie() { ! xl list | grep -qE '\(null\)|d- '; }
  until_true "$PATIENCE" no_zombie || fail "round $round: the writer keeps the dead reader: $(xl list | tail -n 1)"
  wait_state "writer$round" "waiting e"
  xl destroy "${PREFIX}writer$round" || fail "xl destroy failed"
done
leak_check "$CONFIGS/before"
