use std::process::Command;

use super::*;
use crate::compose::plan::Wire;
use crate::xl::BootInput;

fn stage(name: &str, restart: Restart, parameters: &[(&str, &str)]) -> Planned {
    Planned {
        stage: name.to_owned(),
        domain: format!("water-{name}"),
        image: "/images/x.elf".into(),
        memory_mib: 2,
        bridge: None,
        input: BootInput {
            parameters: parameters
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..BootInput::default()
        },
        restart,
    }
}

fn wire(name: &str, from: usize, to: usize) -> Wire {
    Wire {
        name: name.to_owned(),
        from: Some(from),
        to: Some(to),
        feedback: false,
    }
}

/// A source and a sink on the network, with a way back.
fn plan() -> Plan {
    let mut sink = stage("sink", Restart::Always, &[("name", "a <b> & 'c' %d $e")]);
    sink.bridge = Some("xenbr0".to_owned());
    Plan {
        name: "water".to_owned(),
        stages: vec![
            stage("flow", Restart::OnFailure, &[("out.flow", "?")]),
            sink,
        ],
        wires: vec![wire("flow", 0, 1), wire("back", 1, 0)],
    }
}

fn rendered(format: Format, folder: &Path) -> Vec<File> {
    let plan = plan();
    let boots: Vec<Boot> = plan
        .stages
        .iter()
        .map(|stage| stage.input.prepare(Path::new("/none")).unwrap())
        .collect();
    files(&plan, &boots, format, folder).unwrap()
}

fn text(name: &str) -> String {
    let files = rendered(Format::All, Path::new("/srv/two words"));
    files
        .into_iter()
        .find(|file| file.name == name)
        .expect(name)
        .text
}

#[test]
fn each_format_has_its_files() {
    let names = |format| {
        let files = rendered(format, Path::new("/srv"));
        files.into_iter().map(|file| file.name).collect::<Vec<_>>()
    };
    assert_eq!(
        names(Format::Xl),
        ["water-flow.cfg", "water-sink.cfg", "water-peers.sh"]
    );
    assert_eq!(
        names(Format::Libvirt),
        ["water-flow.xml", "water-sink.xml", "water-peers.sh"]
    );
    let units = [
        "water-flow.cfg",
        "water-sink.cfg",
        "water-peers.sh",
        "grantflow-water-flow.service",
        "grantflow-water-sink.service",
        "grantflow-water-peers.service",
        "grantflow-water.target",
    ];
    assert_eq!(names(Format::Systemd), units);
    assert_eq!(names(Format::All).len(), units.len() + 2);
}

#[test]
fn a_configuration_says_what_the_composer_s_would_and_restarts_by_itself() {
    let expected = r#"name = "water-flow"
type = "pv"
kernel = "/images/x.elf"
memory = 2
vcpus = 1
extra = "out.flow=?"
on_poweroff = "destroy"
on_crash = "restart"
"#;
    assert_eq!(text("water-flow.cfg"), expected);
}

#[test]
fn a_domain_of_libvirt_says_the_same() {
    let expected = "<domain type='xen'>
  <name>water-sink</name>
  <memory unit='MiB'>2</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='xenpv'>linux</type>
    <kernel>/images/x.elf</kernel>
    <cmdline>name=&quot;a &lt;b&gt; &amp; &apos;c&apos; %d $e&quot;</cmdline>
  </os>
  <on_poweroff>restart</on_poweroff>
  <on_crash>restart</on_crash>
  <devices>
    <interface type='bridge'>
      <source bridge='xenbr0'/>
    </interface>
    <console type='pty'>
      <target type='xen' port='0'/>
    </console>
  </devices>
</domain>
";
    assert_eq!(text("water-sink.xml"), expected);
}

#[test]
fn units_start_readers_first_and_a_circle_waits_for_nobody() {
    let expected = "[Unit]
Description=grantflow pipeline water, stage flow
PartOf=grantflow-water.target
# Who reads starts first, and stops last.
After=xenstored.service xenconsoled.service xen-init-dom0.service network.target grantflow-water-sink.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/xl create \"/srv/two words/water-flow.cfg\"
ExecStop=/usr/sbin/xl shutdown -w water-flow
ExecStopPost=-/usr/sbin/xl destroy water-flow
TimeoutStopSec=60

[Install]
WantedBy=grantflow-water.target
";
    assert_eq!(text("grantflow-water-flow.service"), expected);
    assert!(!text("grantflow-water-sink.service").contains("water-flow.service"));
    let target = text("grantflow-water.target");
    let wants = "Wants=grantflow-water-peers.service grantflow-water-flow.service grantflow-water-sink.service\n";
    assert!(target.contains(wants), "{target}");
}

/// A folder of programs that stand for others; each adds its command line to `said`.
fn fakes(folder: &Path, programs: &[(&str, &str)]) {
    for (name, does) in programs {
        let path = folder.join(name);
        let said = folder.join("said").display().to_string();
        fs::write(
            &path,
            format!("#!/bin/sh\necho \"{name} $*\" >>'{said}'\n{does}\n"),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn the_script_tells_both_ends_of_each_edge_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    let at = |key: &str| format!("'{}'/$(echo {key} | tr / _)", store.display());
    let write = format!(
        "while [ $# -gt 0 ]; do echo \"$2\" >{}; shift 2; done",
        at("\"$1\"")
    );
    let read = format!("cat {}", at("\"$1\""));
    let domid = "case $2 in water-flow) echo 7 ;; water-sink) echo 8 ;; *) exit 1 ;; esac";
    fakes(
        folder.path(),
        &[
            ("xl", domid),
            ("xenstore-read", &read),
            ("xenstore-write", &write),
        ],
    );
    let script = folder.path().join("water-peers.sh");
    fs::write(&script, text("water-peers.sh")).unwrap();
    let path = format!(
        "{}:{}",
        folder.path().display(),
        std::env::var("PATH").unwrap()
    );
    for _ in 0..2 {
        let status = Command::new("sh")
            .arg(&script)
            .env("PATH", &path)
            .status()
            .unwrap();
        assert!(status.success());
    }
    let said = fs::read_to_string(folder.path().join("said")).unwrap();
    let writes: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("xenstore-write"))
        .collect();
    assert_eq!(writes.len(), 2, "the second run had nothing to say: {said}");
    for (key, value) in [
        ("7_grantflow_peer_flow", "8 "),
        ("8_grantflow_peer_flow", "7 "),
        ("8_grantflow_peer_back", "7 "),
    ] {
        let told = fs::read_to_string(store.join(format!("_local_domain_{key}"))).unwrap();
        assert!(told.starts_with(value), "{key}: {told}");
    }
}

#[test]
fn libvirt_s_schema_takes_the_domains() {
    // Where Debian's package libvirt0 has it; xmllint is in libxml2-utils.
    let schema = Path::new("/usr/share/libvirt/schemas/domain.rng");
    if !schema.exists() || Command::new("xmllint").arg("--version").output().is_err() {
        output::tell(
            "SKIPPED: libvirt's schema is not installed (apt-get install libvirt0 libxml2-utils)",
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for file in rendered(Format::Libvirt, folder.path()) {
        if file.name.ends_with(".xml") {
            let path = folder.path().join(&file.name);
            fs::write(&path, file.text).unwrap();
            let checked = Command::new("xmllint")
                .args(["--noout", "--relaxng"])
                .arg(schema)
                .arg(&path)
                .output()
                .unwrap();
            assert!(
                checked.status.success(),
                "{}",
                String::from_utf8_lossy(&checked.stderr)
            );
        }
    }
}

#[test]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        output::tell("SKIPPED: systemd-analyze is not installed (apt-get install systemd)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for file in rendered(Format::Systemd, folder.path()) {
        let path = folder.path().join(&file.name);
        // It looks for the programs too, and there is no xl on this machine.
        fs::write(&path, file.text.replace("/usr/sbin/xl", "/bin/true")).unwrap();
        let mode = if file.executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if file.name.starts_with("grantflow-") {
            paths.push(path);
        }
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&paths)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("grantflow"))
        .collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
}
