//! A pipeline in the lab: this program, in the dom0 of a Xen that is booted for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load::Loaded;
use super::plan::Plan;
use crate::failure::Failure;
use crate::lab::{self, Job};
use crate::pipeline::model::Located;
use crate::progress::Progress;

/// What the lab's machine gets beside what the pipeline may take: boot, creating domains, the end.
const BESIDE: Duration = Duration::from_secs(240);

/// Brings the pipeline up in the lab, waits until it is done, and ends the lab.
pub fn up(
    (loaded, plan): (&Loaded, &Plan),
    file: &Path,
    host: Option<&str>,
    timeout: Duration,
    json: bool,
    progress: &Progress,
) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file)?;
    let files = files(loaded);
    let mut job = Job::new(&script(host, timeout, json));
    job.timeout = timeout + BESIDE;
    job.memory += u32::try_from(
        plan.stages
            .iter()
            .map(|stage| u64::from(stage.memory_mib))
            .sum::<u64>(),
    )
    .unwrap_or(u32::MAX);
    job.bytes(
        "pipeline.toml",
        0o644,
        renamed(&text, &plan.name, &files).as_bytes(),
    );
    for (number, file) in files.iter().enumerate() {
        let path = loaded.folder.join(&file.value);
        job.file(&place(number), &path).map_err(Failure::failed)?;
    }
    let images: BTreeSet<&PathBuf> = plan.stages.iter().map(|stage| &stage.image).collect();
    for image in images {
        let name = image
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        job.file(&format!("images/{name}"), image)
            .map_err(Failure::failed)?;
    }
    job.program("grantflow", &std::env::current_exe()?)
        .map_err(Failure::failed)?;
    let results = tempfile::Builder::new().prefix("grantflow-up-").tempdir()?;
    let outcome =
        lab::run(&job, results.path(), progress, &mut lab::pass_on).map_err(Failure::failed)?;
    match outcome.status {
        0 => Ok(()),
        2 => Err(Failure::input(
            "the pipeline was refused in the lab; see above",
        )),
        status => Err(Failure::failed(format!(
            "the pipeline failed in the lab with status {status}; see above"
        ))),
    }
}

/// Every file that the pipeline names.
fn files(loaded: &Loaded) -> Vec<&Located<String>> {
    let stages = loaded
        .pipeline
        .stages
        .iter()
        .flat_map(|stage| [&stage.data, &stage.secret]);
    let broker = loaded.pipeline.broker.iter().map(|broker| &broker.secret);
    stages.chain(broker).flatten().collect()
}

/// Where a file of the pipeline lies in the job.
fn place(number: usize) -> String {
    format!("files/{number}")
}

/// The file's text with other paths, and with the name that it had.
fn renamed(text: &str, name: &str, files: &[&Located<String>]) -> String {
    let mut numbered: Vec<(usize, &Located<String>)> = files.iter().copied().enumerate().collect();
    // From the back, so that places in front keep theirs.
    numbered.sort_by_key(|(_, file)| std::cmp::Reverse(file.at.start));
    let mut text = text.to_owned();
    for (number, file) in numbered {
        text.replace_range(file.at.clone(), &format!("\"{}\"", place(number)));
    }
    // Its own name stands before all tables, if it has one; without one, that of this file would be another.
    match crate::pipeline::read(&text, "pipeline") {
        Ok(read) if read.name.value == name => text,
        _ => format!("name = \"{name}\"\n{text}"),
    }
}

fn script(host: Option<&str>, timeout: Duration, json: bool) -> String {
    // A host's name is letters, digits and dashes.
    let host = host.map_or(String::new(), |host| format!(" --host {host}"));
    let seconds = timeout.as_secs();
    let json = if json { " --json" } else { "" };
    format!(
        "#!/bin/bash
./grantflow up --target xen --images images --no-supervisor --wait --timeout {seconds}{host} pipeline.toml{json}
status=$?
./grantflow down --now pipeline.toml >/dev/null || status=1
exit $status
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::read;
    use crate::pipeline::testing::images;

    #[test]
    fn files_lie_elsewhere_in_the_lab_and_the_name_stays() {
        let text = "[[stage]]\nname = \"a\"\napp = \"sensor\"\ndata = '../x.csv'\nsecret = \"\"\"s\"\"\"\n";
        let loaded = Loaded {
            pipeline: read(text, "water").unwrap(),
            images: images(),
            folder: "/srv".into(),
        };
        let there = renamed(text, "water", &files(&loaded));
        let read = read(&there, "pipeline").unwrap();
        assert_eq!(read.name.value, "water");
        let stage = &read.stages[0];
        let paths = (
            stage.data.as_ref().unwrap().value.as_str(),
            stage.secret.as_ref().unwrap().value.as_str(),
        );
        assert_eq!(paths, ("files/0", "files/1"));
    }
}
