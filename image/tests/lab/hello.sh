#!/bin/bash
# An image boots under xl create, prints on its console and powers off
. "$JOB/lab/lib.sh"

create hello probe 2 ""
wait_console hello '.'
wait_ended hello
no_crash
