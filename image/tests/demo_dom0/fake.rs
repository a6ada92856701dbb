//! A dom0 made of shell scripts: `xl`, the xenstore programs and `vchan-socket-proxy` over files in one folder.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Result of a test that touches files and processes.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const XL: &str = r#"
case "$1" in
  list)
    echo "Name ID Mem VCPUs State Time(s) UUID Reason-Code Security Label"
    echo "Domain-0 0 512 2 r----- 14.4 0000 - -"
    cat "$FAKE"/domains/* 2>/dev/null || true ;;
  create)
    name=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$4")
    cp "$4" "$FAKE/configs/$name.cfg"
    count=$(ls "$FAKE/configs" | wc -l)
    echo "$name $count 1 1 $(cat "$FAKE/end.$name" 2>/dev/null || echo '---s-- 0.1 0001 0 -')" >"$FAKE/domains/$name"
    echo "create $name" >>"$FAKE/log" ;;
  destroy)
    file=$(grep -l "^[^ ]* $2 " "$FAKE"/domains/*) || { echo "Domain $2:Non-existant domain" >&2; exit 1; }
    rm "$file"
    echo "destroy $(basename "$file")" >>"$FAKE/log" ;;
  dmesg) cat "$FAKE/dmesg" 2>/dev/null || true ;;
  *) echo "xl: unknown $1" >&2; exit 1 ;;
esac
"#;

const XENSTORE_READ: &str = r#"
[ "$1" = -R ] || exit 2
cat "$FAKE/store$2" 2>/dev/null || { echo "xenstore-read: couldn't read path $2" >&2; exit 1; }
"#;

const XENSTORE_WRITE: &str = r#"
[ "$1" = -- ] || exit 2
mkdir -p "$FAKE/store$(dirname "$2")"
printf %s "$3" >"$FAKE/store$2"
"#;

const XENSTORE_LIST: &str = r#"
ls "$FAKE/store$1" 2>/dev/null || { echo "xenstore-list: could not list path $1" >&2; exit 1; }
"#;

const XENSTORE_RM: &str = r#"
echo "rm $1" >>"$FAKE/log"
rm -rf "$FAKE/store$1"
"#;

/// Prints the results as the aggregator's bytes would come, in two pieces, then what `reader` says.
const PROXY: &str = r#"
[ "$1 $2" = "-m server" ] || exit 2
echo "$3 $4 $5" >"$FAKE/reader-arguments"
head -c 1000 "$FAKE/results"
sleep 0.1
tail -c +1001 "$FAKE/results"
. "$FAKE/reader"
"#;

/// Once its subscription is granted, prints the messages that the gateway's counters speak of.
const SUBSCRIBER: &str = r#"
case "$*" in *" -E") exit 0 ;; esac
echo "$*" >"$FAKE/subscriber-arguments"
cat "$FAKE/messages"
exec sleep 3600
"#;

/// The dom0.
pub struct Dom0 {
    folder: tempfile::TempDir,
}

impl Dom0 {
    /// A dom0 without guests, with images that nobody will boot.
    pub fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let dom0 = Self { folder };
        for name in ["bin", "domains", "configs", "store", "images"] {
            fs::create_dir(dom0.path(name))?;
        }
        let programs = [
            ("xl", XL),
            ("xenstore-read", XENSTORE_READ),
            ("xenstore-write", XENSTORE_WRITE),
            ("xenstore-list", XENSTORE_LIST),
            ("xenstore-rm", XENSTORE_RM),
            ("vchan-socket-proxy", PROXY),
            ("mosquitto_sub", SUBSCRIBER),
        ];
        for (name, script) in programs {
            let file = dom0.path(&format!("bin/{name}"));
            fs::write(&file, format!("#!/bin/sh\n{script}"))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        for image in ["sensor", "aggregator", "gateway"] {
            dom0.write(&format!("images/{image}.elf"), "ELF")?;
        }
        dom0.write("reader", "exit 0\n")?;
        dom0.write("log", "")?;
        Ok(dom0)
    }

    /// A path in the dom0.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with its folders.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Outcome {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, content)?;
        Ok(())
    }

    /// What `xl` was made to do, in order, and which keys were removed.
    pub fn log(&self) -> Outcome<Vec<String>> {
        Ok(fs::read_to_string(self.path("log"))?
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// A value in xenstore.
    pub fn stored(&self, path: &str) -> Outcome<String> {
        Ok(fs::read_to_string(self.path(&format!("store{path}")))?)
    }

    /// The demo, ready to be started here.
    pub fn demo(&self, flow: &Path, weather: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grantflow"));
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["demo", "--target", "xen", "--timeout", "60", "--images"])
            .arg(self.path("images"))
            .arg("--flow")
            .arg(flow)
            .arg("--weather")
            .arg(weather)
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("FAKE", self.folder.path())
            // Should this machine be a dom0: its xenstore is not meant.
            .env("XENSTORED_PATH", self.path("no-socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// What a program printed on standard output.
pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a program printed on standard error.
pub fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
