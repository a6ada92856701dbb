#!/bin/bash
# Runs the scenarios in /job/scenarios (lines `NAME SECONDS`) one after the other and prints for each a line
# `verdict NAME STATUS MILLISECONDS [REASON]`; after a failure, the end of its log and of its guests' consoles.
cd /job || exit 1
export JOB=/job SOAK=
[ ! -e soak ] || SOAK=1
MACHINE=$(cat machine 2>/dev/null)
export MACHINE

domains() { xl list | awk 'NR > 1 && $2 != 0 { print $2 }'; }

while read -r name limit; do
  log=/out/$name.log
  start=${EPOCHREALTIME/./}
  PREFIX=$name- timeout -k 5 "$limit" bash "lab/$name.sh" >"$log" 2>&1 </dev/null
  status=$?
  # Where bash cannot make sense of a test, it passes over the whole line: that tested nothing.
  slip=$(grep -E '\.sh: line [0-9]+: .*(syntax error|not found|unbound variable|expression expected|operator expected|too many arguments)' "$log" | head -n 1)
  if [ "$status" = 0 ] && [ -n "$slip" ]; then
    echo "fail: $slip" >>"$log"
    status=1
  fi
  took=$(((${EPOCHREALTIME/./} - start) / 1000))
  # Whatever the scenario left must not disturb the next one.
  for id in $(domains); do xl destroy "$id"; done
  case $status in
    0) reason= ;;
    77) reason=$(grep '^skip: ' "$log" | tail -n 1 | cut -c7-) ;;
    124 | 137) reason="no end after $limit s" ;;
    *)
      reason=$(grep '^fail: ' "$log" | tail -n 1 | cut -c7-)
      reason=${reason:-ended with status $status}
      ;;
  esac
  echo "verdict $name $status $took $reason"
  if [ "$status" != 0 ] && [ "$status" != 77 ]; then
    tail -n 12 "$log" | sed 's/^/  | /'
    # The newest consoles only: the failure is nearest to them, and all come back as files anyway.
    ls -t /var/log/xen/console/guest-"$name"-*.log 2>/dev/null | head -n 3 | while read -r console; do
      echo "  console of ${console##*/guest-}:"
      tail -n 8 "$console" | sed 's/^/  > /'
    done
  fi
done <scenarios
