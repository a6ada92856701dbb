//! The script that does what the composer does with `?`: each stage of an edge is told of the other.

use std::fmt::Write as _;

use super::File;
use crate::compose::plan::Plan;

/// Its name.
pub(super) fn name(plan: &Plan) -> String {
    format!("{}-peers.sh", plan.name)
}

/// What stands before the edges. Names of domains and edges need no quotes: their letters are few.
const BEGIN: &str = r#"
# meet EDGE WRITER READER: a value is `DOMID GENERATION`; one that says what it should is left, so that nobody connects anew.
meet() {
  writer=$(xl domid "$2" 2>/dev/null) && reader=$(xl domid "$3" 2>/dev/null) || return 1
  at_writer=/local/domain/$writer/grantflow/peer/$1
  at_reader=/local/domain/$reader/grantflow/peer/$1
  case $(xenstore-read "$at_writer" 2>/dev/null)/$(xenstore-read "$at_reader" 2>/dev/null) in
    "$reader "*"/$writer "*) return 0 ;;
  esac
  generation=$(date +%s)
  xenstore-write "$at_writer" "$reader $generation" "$at_reader" "$writer $generation"
}

all() {
  status=0
"#;

const END: &str = r"  return $status
}

if [ $# -gt 0 ]; then
  while :; do
    all
    sleep 1
  done
fi
until all; do sleep 1; done
";

/// The script of a plan.
pub(super) fn script(plan: &Plan) -> File {
    let name = &plan.name;
    let mut text = format!(
        "#!/bin/sh
# Tells the domains of the pipeline {name} of each other, in xenstore, once all of them are there; with --watch again and again,
# for those that are restarted under another domain id.
set -u
{BEGIN}"
    );
    let domain = |place: Option<usize>| Some(&plan.stages.get(place?)?.domain);
    for wire in &plan.wires {
        // Who writes to dom0, or reads from it, knows its peer.
        if let (Some(from), Some(to)) = (domain(wire.from), domain(wire.to)) {
            let _ = writeln!(text, "  meet {} {from} {to} || status=1", wire.name);
        }
    }
    text.push_str(END);
    File {
        name: self::name(plan),
        text,
        executable: true,
    }
}
