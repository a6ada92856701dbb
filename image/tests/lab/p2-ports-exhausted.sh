#!/bin/bash
# P2: event channels used up is an error, Xen's or our own, and all can be had again
# timeout: 300
. "$JOB/lab/lib.sh"

probe ours 2 "do=ports"
CONFIG="max_event_channels = 16" probe xens 2 "do=ports"
wait_powered_off ours
# Xenstore and the console have two of the 128 that one wait can watch.
says ours ports '^126 ports, then: .*128'
says ours ports-again '^126 ports, then: .*128'
wait_powered_off xens
says xens ports '^1[0-9] ports, then: event channel: .*'
[ "$(read_key xens data/probe/ports)" = "$(read_key xens data/probe/ports-again)" ] || fail "not all ports came back"
