//! The report of a comparison before a browser: nothing to complain about, nothing wider than a phone, pictures that show
//! something. `make chromium` unpacks a browser where none is installed.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use grantflow::compare::{against, catalogue, goals, report, results};
use libtest_mimic::{Arguments, Failed, Trial};

#[path = "../src/compare/testing.rs"]
mod testing;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a phone and a desk are wide, in pixels.
const WIDTHS: [(&str, u32, u32); 3] = [
    ("narrow phone", 320, 20_000),
    ("phone", 390, 20_000),
    ("desk", 1280, 12_000),
];

fn main() {
    let arguments = Arguments::from_args();
    let browser = find();
    if browser.is_none() {
        eprintln!(
            "SKIPPED: no Chromium is installed (make chromium), the tests of reports in it are IGNORED"
        );
    }
    let missing = browser.is_none();
    let browser = browser.unwrap_or_default();
    let mut trials = Vec::new();
    for (device, width, height) in WIDTHS {
        for (scheme, number) in [("dark", 0), ("light", 1)] {
            let browser = browser.clone();
            let view = View {
                name: format!("{device}-{scheme}").replace(' ', "-"),
                width,
                height,
                scheme: number,
            };
            let name = format!("a_report_is_shown_{}", view.name);
            trials.push(Trial::test(name, move || shown(&browser, &view)));
        }
        let browser = browser.clone();
        trials.push(Trial::test(
            format!("nothing_is_wider_than_the_{device}").replace(' ', "_"),
            move || fits(&browser, width),
        ));
    }
    let in_order = trials
        .into_iter()
        .map(|trial| trial.with_ignored_flag(missing));
    // One browser at a time: each takes all of a small machine.
    let arguments = Arguments {
        test_threads: Some(1),
        ..arguments
    };
    libtest_mimic::run(&arguments, in_order.collect()).exit();
}

/// How the page is looked at.
struct View {
    name: String,
    width: u32,
    height: u32,
    /// `prefers-color-scheme` as Blink counts them.
    scheme: u32,
}

/// Where `make chromium` has unpacked Debian's package, or in PATH.
fn find() -> Option<PathBuf> {
    let unpacked = unpacked().join("lib/chromium/chromium-headless-shell");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = [
        "chromium-headless-shell",
        "chromium",
        "chromium-browser",
        "google-chrome",
    ];
    let installed =
        std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    [unpacked]
        .into_iter()
        .chain(installed)
        .find(|file| file.is_file())
}

fn unpacked() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/chromium/usr")
}

/// A report that has everything, and texts that would like to be more than text.
fn report() -> results::Results {
    let mut rich = testing::rich();
    let hostile = "</pre></table><img src=x onerror=alert(1)><script>console.error('ran')</script>";
    rich.failures[0].reason = format!("made up: {hostile} {}", "without-a-space".repeat(40));
    rich.warnings.push(hostile.to_owned());
    rich.contestants[0].setup.push_str(hostile);
    rich
}

/// Writes the report into a folder of its own, changed by `change`.
fn page(change: impl Fn(String) -> String) -> Result<(tempfile::TempDir, PathBuf), Failed> {
    let folder = tempfile::tempdir()?;
    let now = report();
    let mut older = now.clone();
    for (index, sample) in older.samples.iter_mut().enumerate() {
        sample.value *= 1.0 + (index / 40 % 4) as f64;
    }
    let held = against::against(&older, &now);
    report::write_against(&now, Some(&held), folder.path())?;
    let path = folder.path().join("report.html");
    fs::write(&path, change(fs::read_to_string(&path)?))?;
    Ok((folder, path))
}

/// Runs the browser; what it wrote to standard output and to standard error.
fn browse(browser: &Path, page: &Path, options: &[String]) -> Result<(String, String), Failed> {
    let profile = tempfile::tempdir()?;
    let libraries = unpacked().join("lib/x86_64-linux-gnu");
    let mut child = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
        ])
        .args([
            "--hide-scrollbars",
            "--no-first-run",
            "--disable-dev-shm-usage",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(options)
        .arg(format!("file://{}", page.display()))
        .env(
            "LD_LIBRARY_PATH",
            format!(
                "{}:{}",
                libraries.display(),
                libraries.join("pulseaudio").display()
            ),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err("the browser did not end".into());
        }
        thread::sleep(Duration::from_millis(50));
    };
    let (stdout, stderr) = (
        stdout.join().unwrap_or_default(),
        stderr.join().unwrap_or_default(),
    );
    if !status.success() {
        return Err(format!("{status}: {stderr}").into());
    }
    Ok((stdout, stderr))
}

/// Without a word on the console, with a picture that shows something. The picture stays in `target/report-screenshots`.
fn shown(browser: &Path, view: &View) -> Result<(), Failed> {
    let (_folder, page) = page(|html| html)?;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../report-screenshots");
    fs::create_dir_all(&pictures)?;
    let picture = pictures.join(format!("{}.png", view.name));
    let _ = fs::remove_file(&picture);
    let options = [
        format!("--screenshot={}", picture.display()),
        format!("--window-size={},{}", view.width, view.height),
        format!("--blink-settings=preferredColorScheme={}", view.scheme),
    ];
    let (_, stderr) = browse(browser, &page, &options)?;
    quiet(&stderr)?;
    let png = Png::read(&fs::read(&picture)?)?;
    if png.width != view.width {
        return Err(format!("the picture is {} wide, not {}", png.width, view.width).into());
    }
    // The ground of the page, in the upper left corner, tells the schemes apart.
    let light = png.pixels[0].iter().all(|&part| part > 200);
    if light != (view.scheme == 1) {
        return Err(format!("the corner is {:?}", png.pixels[0]).into());
    }
    let mut colours: Vec<[u8; 3]> = png.pixels.clone();
    colours.sort_unstable();
    colours.dedup();
    if colours.len() < 100 {
        return Err(format!("{} colours alone: is it blank?", colours.len()).into());
    }
    Ok(())
}

fn quiet(stderr: &str) -> Result<(), Failed> {
    let said: Vec<&str> = stderr
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    match said.as_slice() {
        [] => Ok(()),
        said => Err(said.join("\n").into()),
    }
}

/// Looks for what reaches beyond the window and is in nothing that scrolls, with everything unfolded; and for what overlaps
/// in a chart. It stands before the page's own rule that no script runs.
const LOOK: &str = r#"<script>
addEventListener('load', () => {
  document.querySelectorAll('details').forEach(each => each.open = true);
  const found = [];
  const wide = document.documentElement.clientWidth;
  const told = each => each.tagName + '.' + each.getAttribute('class') + ' ' + each.textContent.slice(0, 40);
  if (document.documentElement.scrollWidth > wide) found.push('the page scrolls to ' + document.documentElement.scrollWidth);
  for (const each of document.querySelectorAll('main *')) {
    if (each.closest('.scroll') && !each.matches('.scroll')) continue;
    const box = each.getBoundingClientRect();
    if (box.width > 0 && (box.right > wide + 1 || box.left < -1)) found.push('too wide: ' + told(each));
  }
  for (const chart of document.querySelectorAll('svg')) {
    const view = chart.getBoundingClientRect();
    if (view.width == 0) continue;
    const texts = [...chart.querySelectorAll('text')].map(each => [each, each.getBoundingClientRect()]);
    texts.forEach(([each, box], index) => {
      if (box.right > view.right + 1 || box.left < view.left - 1 || box.bottom > view.bottom + 1 || box.top < view.top - 1)
        found.push('out of its chart: ' + told(each));
      for (const [other, its] of texts.slice(index + 1))
        if (box.left < its.right - 1 && its.left < box.right - 1 && box.top < its.bottom - 3 && its.top < box.bottom - 3)
          found.push('overlap: ' + told(each) + ' / ' + told(other));
    });
  }
  document.documentElement.setAttribute('data-looked', wide + ': ' + (found.join('; ') || 'nothing'));
});
</script>"#;

fn fits(browser: &Path, width: u32) -> Result<(), Failed> {
    let (_folder, page) = page(|html| html.replacen("<head>", &format!("<head>{LOOK}"), 1))?;
    let options = [
        "--dump-dom".to_owned(),
        format!("--window-size={width},900"),
    ];
    let (dom, stderr) = browse(browser, &page, &options)?;
    quiet(&stderr)?;
    let looked = dom
        .split_once("data-looked=\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    match looked {
        Some((found, _)) if found == format!("{width}: nothing") => Ok(()),
        Some((found, _)) => Err(found.to_owned().into()),
        None => Err("nobody has looked".into()),
    }
}

/// A picture.
struct Png {
    width: u32,
    pixels: Vec<[u8; 3]>,
}

impl Png {
    /// As much of PNG as a screenshot is: eight bits a channel, not interlaced.
    fn read(bytes: &[u8]) -> Result<Self, Failed> {
        let number = |at: usize| {
            bytes
                .get(at..at + 4)
                .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
        };
        let cut = || Failed::from("the picture is cut off");
        if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Err("no PNG".into());
        }
        let (width, height) = (number(16).ok_or_else(cut)?, number(20).ok_or_else(cut)?);
        let channels = match bytes.get(24..29).ok_or_else(cut)? {
            [8, 2, .., 0] => 3,
            [8, 6, .., 0] => 4,
            other => return Err(format!("PNG of kind {other:?}").into()),
        };
        let (mut at, mut packed) = (8, Vec::new());
        while let Some(length) = number(at) {
            let body = at + 8..at + 8 + length as usize;
            if &bytes[at + 4..at + 8] == b"IDAT" {
                packed.extend_from_slice(bytes.get(body.clone()).ok_or_else(cut)?);
            }
            at = body.end + 4;
        }
        let mut raw = Vec::new();
        flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_end(&mut raw)?;
        let row = width as usize * channels;
        let mut above = vec![0_u8; row];
        let mut pixels = Vec::new();
        for line in raw.chunks_exact(row + 1).take(height as usize) {
            let (filter, mut line) = (line[0], line[1..].to_vec());
            for index in 0..row {
                let left = if index < channels {
                    0
                } else {
                    line[index - channels]
                };
                let corner = if index < channels {
                    0
                } else {
                    above[index - channels]
                };
                line[index] = line[index].wrapping_add(match filter {
                    0 => 0,
                    1 => left,
                    2 => above[index],
                    3 => ((u16::from(left) + u16::from(above[index])) / 2) as u8,
                    4 => paeth(left, above[index], corner),
                    other => return Err(format!("filter {other}").into()),
                });
            }
            pixels.extend(
                line.chunks_exact(channels)
                    .map(|pixel| [pixel[0], pixel[1], pixel[2]]),
            );
            above = line;
        }
        if pixels.len() != width as usize * height as usize || pixels.is_empty() {
            return Err(cut());
        }
        Ok(Self { width, pixels })
    }
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let estimate = i16::from(left) + i16::from(above) - i16::from(corner);
    let far = |value: u8| (estimate - i16::from(value)).abs();
    if far(left) <= far(above) && far(left) <= far(corner) {
        left
    } else if far(above) <= far(corner) {
        above
    } else {
        corner
    }
}
