#!/bin/bash
# R11: kill -9 of vcat is seen by the unikernel, a destroyed unikernel by vcat, in both roles; grants and ports are given back
# timeout: 400
. "$JOB/lab/lib.sh"
vcat=$JOB/bin/vcat

something_came() { [ -s "$1" ]; }

# C servers of earlier scenarios leave empty folders.
others=$(xenstore-ls /local/domain/0/data 2>/dev/null)
leak_snapshot "$CONFIGS/before"

# vcat reads what the stage sends, and is killed: the stage says that its edge is lost, and waits for a new peer.
probe writer 4 "count=1000000 every=20ms out.e=0"
id=$(domid writer)
"$vcat" listen "xen:$id:data/vchan/$id/e" recv:"$CONFIGS/readings" &
until_true "$PATIENCE" something_came "$CONFIGS/readings" || fail "nothing came from the stage"
leak_visible "$CONFIGS/before"
kill -9 $!
wait_state writer "waiting e"
# What it left in xenstore is in nobody's way: the next one writes over it, and takes it away.
xenstore-read "/local/domain/0/data/vchan/$id/e/ring-ref" >/dev/null || fail "a killed server's keys are gone; say so in the README"
rm "$CONFIGS/readings"
"$vcat" listen "xen:$id:data/vchan/$id/e" recv:"$CONFIGS/readings" &
until_true "$PATIENCE" something_came "$CONFIGS/readings" || fail "nothing came after the first reader was killed"
# Now the unikernel goes without a word.
xl destroy "${PREFIX}writer"
wait $! && fail "vcat, a server, took the destroyed writer for one that had closed"

# The same with vcat as the client, whose input never ends.
mkfifo "$CONFIGS/input"
exec 9<>"$CONFIGS/input"
probe reader 4 "in.e=0"
id=$(domid reader)
"$vcat" connect --wait "$PATIENCE" "xen:$id:/local/domain/$id/data/vchan/0/e" send:- <"$CONFIGS/input" &
wait_state reader running
kill -9 $!
wait_state reader "stale e"
xl destroy "${PREFIX}reader"

probe reader2 4 "in.e=0"
id=$(domid reader2)
"$vcat" connect --wait "$PATIENCE" "xen:$id:/local/domain/$id/data/vchan/0/e" recv:- >/dev/null 2>"$CONFIGS/said" &
wait_state reader2 running
xl destroy "${PREFIX}reader2"
until_true "$PATIENCE" grep -q "the peer died" "$CONFIGS/said" || fail "vcat, a client, said '$(cat "$CONFIGS/said")' of a destroyed server"
wait
[ "$(xenstore-ls /local/domain/0/data 2>/dev/null)" = "$others" ] || fail "left in xenstore: $(xenstore-ls /local/domain/0/data)"
leak_check "$CONFIGS/before"
