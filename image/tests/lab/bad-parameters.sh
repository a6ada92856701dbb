#!/bin/bash
# Bad parameters of any image end the boot with one line that names the key, the state `failed`, and reason crash
# timeout: 300
. "$JOB/lab/lib.sh"

long=$(printf 'stage=%01023d' 0)
probe unknown 2 "cuont=3"
probe value 2 "count=many"
probe edge 2 "in.Flow=3"
probe domain 2 "in.flow=70000"
probe cut 2 "$long"
aggregator() { ON_POWEROFF=preserve create "$1" aggregator 2 "$2"; }
aggregator results "in.a=0 results=screen"
aggregator both "in.a=0 out.b=0 results=console"
aggregator neither "in.a=0"
aggregator deaf "out.b=0"
aggregator window "in.a=0 out.b=0 window=7h"
aggregator range "in.a=0 out.b=0 min.x=2 max.x=1"
ended_with unknown '^error: cuont: unknown parameter'
ended_with value '^error: count: "many" is not a whole number'
ended_with edge '^error: in\.Flow: edge names are'
ended_with domain '^error: in\.flow: "70000" is not PEER'
ended_with cut '^error: .*1,?023 bytes'
ended_with results '^error: results: "screen" is not'
ended_with both '^error: results: "console" is not possible together with out\.EDGE'
ended_with neither '^error: results: "edge" is not possible without out\.EDGE'
ended_with deaf '^error: in\.EDGE'
ended_with window '^error: window: "7h" is not'
ended_with range '^error: max\.x: "1" is not at least min'
for name in unknown value edge domain cut results both neither deaf window range; do
  [[ $(state "$name") == failed\ * ]] || fail "$name ended in state '$(state "$name")'"
done
