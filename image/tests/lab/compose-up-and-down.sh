#!/bin/bash
# C1, C4, C5, C6, C7, S6: a pipeline is brought up, edited, restarted, supervised and ended by its file; what fails or is killed half-way leaves nothing
# timeout: 300
. "$JOB/lab/lib.sh"
need bin/grantflow
grantflow() { "$JOB/bin/grantflow" "$@"; }

name=${PREFIX%-}
file=$CONFIGS/pipeline.toml
# pipeline WINDOW [MORE-LINES]: a source that goes on for ever, and windows of WINDOW that nobody reads but the console.
pipeline() {
  cat >"$file" <<EOF
name = "$name"
[[stage]]
name = "source"
app = "sensor"
memory = 1
parameters = { signal = "sine", rate = 20, count = 0, name.1 = "s" }
[[stage]]
name = "windows"
app = "aggregator"
memory = ${MEMORY:-1}
parameters = { window = "$1", results = "console" }
[[edge]]
name = "readings"
from = "source"
to = "windows"
EOF
}
up() { grantflow up --images "$IMAGES" "$file" "$@"; }
leak_snapshot "$CONFIGS/before"

# A mistake is told before anything is created.
pipeline 'one second'
up 2>"$CONFIGS/said"
[ $? = 2 ] || fail "a wrong window did not end with exit code 2"
grep -q "pipeline.toml:1[0-9]:.*is not a span of time" "$CONFIGS/said" || fail "of a wrong window it said: $(cat "$CONFIGS/said")"

pipeline 1s
up || fail "up"
wait_state windows running
source=$(domid source)
windows=$(domid windows)
up || fail "up again"
[ "$(domid source) $(domid windows)" = "$source $windows" ] || fail "the same file again has changed domains"
grantflow status "$name" | grep -q '^windows .* running$' || fail "status: $(grantflow status "$name")"

wait_console windows '"n":"mean"'
grantflow logs "$name" windows -n 3 | grep -q '^windows | .*"n":"mean"' || fail "logs: $(grantflow logs "$name" -n 3)"

# An edit replaces the stage that it is about, and the other goes on with the new one.
pipeline 2s
up || fail "up after an edit"
[ "$(domid source)" = "$source" ] || fail "the source was replaced too"
[ "$(domid windows)" != "$windows" ] || fail "the edited stage was not replaced"
wait_state windows running
wait_state source running
windows=$(domid windows)
grantflow restart --images "$IMAGES" "$file" source || fail "restart"
[ "$(domid windows)" = "$windows" ] || fail "a restart of one stage has restarted the other"
[ "$(domid source)" != "$source" ] || fail "the source was not restarted"
wait_state source running
wait_console windows 'lost its writer'
wait_state windows running

# What is destroyed comes back, and no other stage restarts; a supervisor that is killed has a successor that goes on.
# supervisor: the ids of those that run; fails if there is none.
supervisor() { grep -lsz -- "^$name\$" /proc/[0-9]*/cmdline | cut -d / -f 3 | grep . ; }
before=$(domid source)
xl destroy "${PREFIX}source"
comes_back() { exists source && [ "$(domid source)" != "$before" ]; }
until_true "$PATIENCE" comes_back || fail "a destroyed source did not come back: $(cat "/run/grantflow/$name/supervisor.log")"
[ "$(domid windows)" = "$windows" ] || fail "the windows were restarted too"
wait_state source running
wait_state windows running
[ "$(supervisor | wc -l)" = 1 ] || fail "there are $(supervisor | wc -l) supervisors"
kill -9 "$(supervisor)"
grantflow supervise "$name" || fail "a second supervisor did not start"
until_true "$PATIENCE" supervisor || fail "a second supervisor is not there"
before=$(domid source)
xl destroy "${PREFIX}source"
until_true "$PATIENCE" comes_back || fail "a second supervisor does nothing: $(cat "/run/grantflow/$name/supervisor.log")"

# More memory than there is, and an image that ends at once: all as before.
source=$(domid source)
MEMORY=100000 pipeline 3s
up 2>"$CONFIGS/said" && fail "more memory than there is was given"
grep -q 'MiB are free' "$CONFIGS/said" || fail "of too much memory it said: $(cat "$CONFIGS/said")"
pipeline 3s
sed -i 's/app = "aggregator"/app = "probe"/; s/parameters = { window.*/parameters.do = "panic"/' "$file"
up 2>"$CONFIGS/said" && fail "a stage that panics was taken"
grep -q 'ended at once (crash).*' "$CONFIGS/said" || fail "of a stage that panics it said: $(cat "$CONFIGS/said")"
[ "$(domid source) $(domid windows)" = "$source $windows" ] || fail "a failed change has changed domains: $(xl list)"

# A composer that is killed half-way: the next command cleans up.
window=4
for pause in 0.05 0.4 1.0; do
  pipeline "$((window++))s"
  "$JOB/bin/grantflow" up --images "$IMAGES" "$file" 2>/dev/null &
  sleep "$pause"
  kill -9 $! 2>/dev/null
  wait $! 2>/dev/null
done
pipeline 9s
up || fail "up after composers that were killed"
[ "$(xl list | grep -c "$PREFIX\|old-")" = 2 ] || fail "there are other domains than two: $(xl list)"
wait_state windows running

grantflow down "$name" >"$CONFIGS/said" || fail "down"
grep -q "drained: source, windows" "$CONFIGS/said" || fail "down said $(cat "$CONFIGS/said")"
no_supervisor() { ! supervisor; }
until_true "$PATIENCE" no_supervisor || fail "a supervisor outlives its pipeline"
[ ! -e "/run/grantflow/$name" ] || fail "left: $(find "/run/grantflow/$name")"
grantflow status "$name" 2>/dev/null && fail "the pipeline is down and has a status"
leak_check "$CONFIGS/before"
