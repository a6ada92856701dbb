#!/bin/bash
# P8: where nobody reads the console, log lines are dropped and counted, and a result waits, without CPU
# timeout: 300
. "$JOB/lab/lib.sh"

daemon=$(cat /run/xenconsoled.pid)
trap 'kill -CONT "$daemon"; cleanup' EXIT
# Xl itself waits for the console, so that it stops only then.
PAUSED=1 probe flood 2 "do=console count=500"
kill -STOP "$daemon"
xl unpause "${PREFIX}flood" || fail "xl unpause failed"
waiting() { [ "$(read_key flood data/probe/state)" = waiting ]; }
until_true "$PATIENCE" waiting || fail "the flood of lines did not pass"
dropped=$(read_key flood data/probe/dropped)
# The ring holds 2,048 bytes, a line has at least 30.
[ "$dropped" -gt 400 ] && [ "$dropped" -lt 500 ] || fail "$dropped of 500 lines were dropped"
is_idle flood 10
waiting || fail "the result did not wait"
kill -CONT "$daemon"
wait_powered_off flood
wait_console flood '^result 500'
wait_console flood "^\($dropped log lines dropped"
wait_console flood 'after the result'
printed=$(grep -acE '\] line [0-9]+ of 500' "$(console flood)")
[ $((printed + dropped)) = 500 ] || fail "$printed lines printed and $dropped dropped are not 500"
