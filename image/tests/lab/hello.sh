#!/bin/bash
# An image boots under xl create, prints on its console and powers off
. "$JOB/lab/lib.sh"

probe hello 2 ""
wait_console hello '^grantflow '
wait_console hello ' 2048 KiB of memory'
wait_powered_off hello
[ "$(state hello)" = done ] || fail "it ended in state '$(state hello)'"
