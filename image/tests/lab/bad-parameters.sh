#!/bin/bash
# Bad parameters end the boot with one line that names the key, the state `failed`, and reason crash
# timeout: 300
. "$JOB/lab/lib.sh"

long=$(printf 'stage=%01023d' 0)
probe unknown 2 "cuont=3"
probe value 2 "count=many"
probe edge 2 "in.Flow=3"
probe domain 2 "in.flow=70000"
probe cut 2 "$long"
ended_with unknown '^error: cuont: unknown parameter'
ended_with value '^error: count: "many" is not a whole number'
ended_with edge '^error: in\.Flow: edge names are'
ended_with domain '^error: in\.flow: "70000" is not PEER'
ended_with cut '^error: .*1,?023 bytes'
for name in unknown value edge domain cut; do
  [[ $(state "$name") == failed\ * ]] || fail "$name ended in state '$(state "$name")'"
done
