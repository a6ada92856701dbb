//! Units of systemd: one that starts and stops each domain, one that tells them of each other, and a target for all.

use std::fmt::Write as _;
use std::path::Path;

use super::{File, peers, plain, xl_name};
use crate::compose::plan::Plan;

/// Where Debian has it.
const XL: &str = "/usr/sbin/xl";

/// How long a stage may take to end by itself, in seconds, before its domain is destroyed.
const PATIENCE: u32 = 60;

/// All units of a plan whose configurations lie in `folder`.
pub(super) fn units(plan: &Plan, folder: &Path) -> Vec<File> {
    let name = &plan.name;
    let target = format!("grantflow-{name}.target");
    let service = |stage: usize| format!("grantflow-{}.service", plan.stages[stage].domain);
    let path = |file: &str| quoted(&folder.join(file).to_string_lossy());
    let mut files = Vec::new();
    for (number, (stage, readers)) in plan.stages.iter().zip(readers(plan)).enumerate() {
        let mut after = String::from(
            "xenstored.service xenconsoled.service xen-init-dom0.service network.target",
        );
        for reader in readers {
            let _ = write!(after, " {}", service(reader));
        }
        let domain = &stage.domain;
        let text = format!(
            "[Unit]
Description=grantflow pipeline {name}, stage {}
PartOf={target}
# Who reads starts first, and stops last.
After={after}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={XL} create {}
ExecStop={XL} shutdown -w {domain}
ExecStopPost=-{XL} destroy {domain}
TimeoutStopSec={PATIENCE}

[Install]
WantedBy={target}
",
            stage.stage,
            path(&xl_name(stage)),
        );
        files.push(plain(service(number), text));
    }
    let peers_service = format!("grantflow-{name}-peers.service");
    let text = format!(
        "[Unit]
Description=grantflow pipeline {name}, who tells its stages of each other
PartOf={target}
After=xenstored.service

[Service]
ExecStart={} --watch
Restart=always

[Install]
WantedBy={target}
",
        path(&peers::name(plan)),
    );
    files.push(plain(peers_service.clone(), text));
    let wants: Vec<String> = (0..plan.stages.len()).map(service).collect();
    let text = format!(
        "[Unit]
Description=grantflow pipeline {name}
Wants={peers_service} {}

[Install]
WantedBy=multi-user.target
",
        wants.join(" "),
    );
    files.push(plain(target, text));
    files
}

/// For each stage the stages that read from it and start before it. One that would have a circle of units wait for itself is left
/// out: the stages wait for each other in any order.
fn readers(plan: &Plan) -> Vec<Vec<usize>> {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); plan.stages.len()];
    for wire in &plan.wires {
        if let (Some(from), Some(to)) = (wire.from, wire.to)
            && !before[from].contains(&to)
            && !waits(&before, to, from)
        {
            before[from].push(to);
        }
    }
    before
}

/// Whether `stage` starts after `other`, directly or not.
fn waits(before: &[Vec<usize>], stage: usize, other: usize) -> bool {
    let (mut seen, mut left) = (vec![false; before.len()], vec![stage]);
    while let Some(stage) = left.pop() {
        if stage == other {
            return true;
        }
        if !std::mem::replace(&mut seen[stage], true) {
            left.extend(&before[stage]);
        }
    }
    false
}

/// A word of a command line (systemd.service(5), "COMMAND LINES").
fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            '$' => quoted.push_str("$$"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
