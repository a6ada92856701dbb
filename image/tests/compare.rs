//! `grantflow compare` before anything boots: what it refuses, and what it says there is.

use std::process::{Command, Output};

fn compare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grantflow"))
        .arg("compare")
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_unknown_word_is_wrong_input_and_the_line_says_where_the_words_are() {
    let output = compare(&["--only", "linux-tcp,latency"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("no `latency`"), "{}", said(&output));
    assert!(said(&output).contains("--list"), "{}", said(&output));
}

#[test]
fn what_does_not_go_together_is_wrong_input() {
    let output = compare(&["--quick", "--only", "linux-udp"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("nothing is measured"),
        "{}",
        said(&output)
    );
    assert_eq!(compare(&["--rounds", "0"]).status.code(), Some(2));
}

#[test]
fn images_that_are_not_there_are_wrong_input() {
    let output = compare(&["--target", "lab", "--images", "/no/such/folder"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("`grantflow images` builds them"),
        "{}",
        said(&output)
    );
}

#[test]
fn the_list_names_every_word_once_and_fits_a_screen() {
    let output = compare(&["--list"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for word in [
        "unikernel-vchan",
        "native-memcpy",
        "throughput",
        "cpu-per-million",
        "vchan-vs-linux-tcp-64",
    ] {
        let found = text
            .lines()
            .filter(|line| line.split_whitespace().next() == Some(word));
        assert!(found.count() >= 1, "{word} is not in {text}");
    }
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    let json = compare(&["--list", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(document["contestants"].as_array().unwrap().len(), 9);
}

#[test]
fn outside_of_a_dom0_the_target_xen_says_where_to_run() {
    let images = tempfile::tempdir().unwrap();
    let folder = images.path().to_str().unwrap();
    let out = images.path().join("out");
    let output = compare(&[
        "--target",
        "xen",
        "--images",
        folder,
        "--out",
        out.to_str().unwrap(),
    ]);
    // Where there is a Xen, there are no images here: it fails all the same.
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(!said(&output).is_empty());
}
