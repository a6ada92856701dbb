#!/bin/bash
# Dom0 feeds a stage: a recording from standard input, every reading of which arrives, and a file that grows while the stage restarts
# timeout: 120
. "$JOB/lab/lib.sh"
need bin/grantflow
grantflow() { "$JOB/bin/grantflow" "$@"; }

name=${PREFIX%-}
file=$CONFIGS/pipeline.toml
cat >"$file" <<EOF
name = "$name"
[[stage]]
name = "smooth"
app = "filter"
[[stage]]
name = "log"
app = "log"
[[edge]]
name = "readings"
from = "dom0"
to = "smooth"
[[edge]]
from = "smooth"
to = "log"
EOF
up() { grantflow up --images "$IMAGES" --no-supervisor "$file" || fail "up"; }
# figure KEY: a number of what `feed` has said last.
figure() { sed -nE "s/.*\"$1\":([0-9]+).*/\1/p" "$CONFIGS/fed"; }

up
grantflow feed --to nothing </dev/null 2>"$CONFIGS/said"
[ $? = 2 ] || fail "an edge that is none did not end with exit code 2"
rows=$(($(wc -l <"$JOB/data/water-flow.csv") - 1))
grantflow feed --json --to readings --name 1=water-flow --unit 1=l/s <"$JOB/data/water-flow.csv" >"$CONFIGS/fed" || fail "feed"
wait_powered_off smooth
wait_powered_off log
# A row may hold nothing.
readings=$(figure readings)
[ "$readings" -gt 1000 ] && [ $((readings + $(figure bad))) -le "$rows" ] || fail "$readings readings of $rows rows"
[ "$(counter smooth stats/in/readings lost)" = 0 ] || fail "lost: $(read_key smooth data/grantflow/stats/in/readings)"
for stage in smooth log; do
  [ "$(counter $stage stats/stage in)" = "$readings" ] || fail "$stage: $(counter $stage stats/stage in) of $readings readings"
done
grantflow down --now "$name" >/dev/null || fail "down"

# A stage that restarts is met again, and a file that is renamed is read on under its name.
up
log=$CONFIGS/growing
: >"$log"
"$JOB/bin/grantflow" feed --json --to "$name/readings" --follow "$log" --format numbers --name n >"$CONFIGS/fed" 2>"$CONFIGS/said" &
feed=$!
seq 100 >>"$log"
smooth_has() { [ "$(counter smooth stats/stage in)" = "$1" ]; }
until_true "$PATIENCE" smooth_has 100 || fail "the first hundred: $(counter smooth stats/stage in); $(cat "$CONFIGS/said")"
before=$(domid smooth)
grantflow restart --images "$IMAGES" "$file" smooth || fail "restart"
[ "$(domid smooth)" != "$before" ] || fail "the stage was not restarted"
# Met: what is written before that may go to the old one, and is said to be lost.
wait_state smooth running
mv "$log" "$log.1"
seq 200 >"$log"
until_true "$PATIENCE" smooth_has 200 || fail "after the restart: $(counter smooth stats/stage in); $(cat "$CONFIGS/said")"
kill $feed
wait $feed || fail "feed ended with $?: $(cat "$CONFIGS/said")"
[ "$(figure readings) $(figure lost) $(figure readers) $(figure bad)" = "300 0 2 0" ] || fail "fed: $(cat "$CONFIGS/fed")"
wait_powered_off smooth
wait_powered_off log
[ "$(counter log stats/stage used)" = 300 ] || fail "the log has $(counter log stats/stage used) of 300"
grantflow down --now "$name" >/dev/null || fail "down"
