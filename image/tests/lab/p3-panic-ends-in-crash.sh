#!/bin/bash
# P3: a panic, an abort, a null pointer and an invalid opcode end in crash with one line that names place and cause
# timeout: 300
. "$JOB/lab/lib.sh"

for fault in panic abort fault opcode; do
  probe "$fault" 2 "do=$fault"
done
ended_with panic '^panic at apps/probe/src/run\.rs:[0-9]+:[0-9]+: as do=panic asked'
ended_with abort '^abort'
ended_with fault '^fault: page fault at 0x[0-9a-f]+, writing 0x0 \(a null pointer\)'
ended_with opcode '^fault: invalid opcode at 0x[0-9a-f]+'
