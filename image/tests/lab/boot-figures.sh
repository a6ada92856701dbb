#!/bin/bash
# From entry to `running` with every peer already waiting: at most 8 xenstore round trips one after the other
# timeout: 300
. "$JOB/lab/lib.sh"

need data/water-flow.csv
# What a stage says of its boot is printed whatever it is; only the count of round trips has a right value.
figures() {
  local boot trips
  wait_state "$1" running
  boot=$(read_key "$1" data/grantflow/boot)
  echo "$1: $boot"
  trips=$(counter "$1" boot round_trips)
  [ "$trips" -ge 1 ] && [ "$trips" -le 8 ] || fail "$1 took $trips round trips: $boot"
}
has_key() { xenstore-read "$1" >/dev/null 2>&1; }

# A client whose server has made its offer.
create reader aggregator 4 "in.a=? results=console window=24h"
PAUSED=1 create writer sensor 1 "out.a=? rate=1 name.1=water-flow unit.1=l/s" "$JOB/data/water-flow.csv"
peer reader a "$(domid writer)"
peer writer a "$(domid reader)"
until_true "$PATIENCE" has_key "/local/domain/$(domid reader)/data/vchan/$(domid writer)/a/event-channel" ||
  fail "the reader makes no offer"
xl unpause "${PREFIX}writer"
figures writer

# Servers whose clients, one or three of them, wait for the offers.
for edges in a "b c d"; do
  server="server-${edges// /}"
  # shellcheck disable=SC2046,SC2086 # one word per edge
  PAUSED=1 create "$server" aggregator 4 "$(printf 'in.%s=? ' $edges)results=console window=24h"
  for edge in $edges; do
    create "client-$edge" sensor 1 "out.$edge=? rate=1 name.1=water-flow unit.1=l/s" "$JOB/data/water-flow.csv"
    peer "$server" "$edge" "$(domid "client-$edge")"
    peer "client-$edge" "$edge" "$(domid "$server")"
  done
  for edge in $edges; do wait_state "client-$edge" "waiting $edge"; done
  xl unpause "$PREFIX$server"
  figures "$server"
done
no_crash
