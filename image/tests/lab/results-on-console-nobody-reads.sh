#!/bin/bash
# Results on a console that nobody reads wait without CPU, and are all there in whole lines of SenML JSON once it is read
# timeout: 300
. "$JOB/lab/lib.sh"

# More than the console's ring holds, and no more than the aggregator takes in meanwhile: a writer that has come to its end
# waits no longer than 5 s for its reader.
rows=300
head -n $((rows + 1)) "$JOB/data/water-flow.csv" >"$CONFIGS/slice.csv"
# Days of UTC with a row; the stamps are local, with their offset behind them.
windows=$(awk -F '[-T:+,]' 'NR > 1 { days[int((mktime($1 " " $2 " " $3 " " $4 " " $5 " " $6) - $7 * 3600) / 86400)] }
  END { for (day in days) count++; print count }' "$CONFIGS/slice.csv")
[ "$windows" -ge $((rows / 24)) ] || fail "$windows windows expected of $rows rows"

daemon=$(cat /run/xenconsoled.pid)
trap 'kill -CONT "$daemon"; cleanup' EXIT
# Xl itself waits for the console, so that it stops only then.
PAUSED=1 ON_POWEROFF=preserve create results aggregator 4 "in.flow=? results=console"
PAUSED=1 ON_POWEROFF=preserve create source sensor 4 "out.flow=? rate=max name.1=water-flow unit.1=l/s" "$CONFIGS/slice.csv"
kill -STOP "$daemon"
for name in results source; do xl unpause "$PREFIX$name" || fail "xl unpause $name failed"; done
peer results flow "$(domid source)"
peer source flow "$(domid results)"
wait_state results running
wait_powered_off source
[ "$(counter source stats/out/flow lost)" = 0 ] || fail "the aggregator left $(counter source stats/out/flow lost) readings"
stands_still() {
  local before
  before=$(cpu_tenths results)
  sleep 2
  [ "$(cpu_tenths results)" = "$before" ]
}
until_true "$PATIENCE" stands_still || fail "the aggregator does not come to rest"
is_idle results 10
[ "$(state results)" = running ] || fail "the results did not wait: state '$(state results)'"
grep -aq '^\[{' "$(console results)" && fail "somebody reads the console"

kill -CONT "$daemon"
wait_powered_off results
[ "$(state results)" = done ] || fail "the aggregator ended in state '$(state results)'"
all_there() { [ "$(grep -ac '^\[{' "$(console results)")" -ge "$windows" ]; }
until_true "$PATIENCE" all_there || fail "$(grep -ac '^\[{' "$(console results)") of $windows results came"
# A pack is an array of flat objects, which a regular expression describes in full (RFC 8259).
string='"[^"\\[:cntrl:]]*"'
number='-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?'
member="$string:($string|$number)"
object="\\{$member(,$member)*\\}"
lines=$CONFIGS/lines
tr -d '\r' <"$(console results)" | grep -a '^\[{' >"$lines"
grep -vxE "\\[$object(,$object)*\\]" "$lines" >"$CONFIGS/broken" && fail "no JSON: $(head -n 1 "$CONFIGS/broken")"
[ "$(wc -l <"$lines")" = "$windows" ] || fail "$(wc -l <"$lines") results instead of $windows"
[ "$(cut -d, -f2 "$lines" | sort -u | wc -l)" = "$windows" ] || fail "a window was told twice"
counted=$(grep -oE '"n":"count","u":"count","v":[0-9]+' "$lines" | awk -F: '{ sum += $NF } END { print sum }')
[ "$counted" = "$rows" ] || fail "the windows count $counted readings instead of $rows"
# No piece of a result stands anywhere else.
grep -av '^\[{' "$(console results)" | grep -aq '"v":' && fail "a result is torn: $(grep -av '^\[{' "$(console results)" | grep -a -m 1 '"v":')"
no_crash
