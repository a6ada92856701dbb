//! Whole reports of made-up results: nothing is lost, nothing is more than text, nothing panics.

use super::files::sound;
use super::{html, markdown, sections, summary, write, write_docs};
use crate::compare::against::against;
use crate::compare::catalogue::{Contestant, Measure};
use crate::compare::goals::GOALS;
use crate::compare::read;
use crate::compare::results::{Load, Results};
use crate::compare::testing::{bare, failed, rich, sample};

/// Everything that a person may get to see of these results.
fn shown(results: &Results) -> [String; 3] {
    let results = sound(results);
    let document = sections::document(&results, None);
    let pictures = document
        .charts()
        .map(|f| f.chart.standalone(&f.title, &f.set_up));
    [
        html::render(&document),
        markdown::render(&document),
        pictures.collect(),
    ]
}

/// The part between two words.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to}")).0
}

mod any;

#[test]
fn a_report_is_a_folder_of_files_that_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("a/b");
    let written = write(&rich(), &into).unwrap();
    for file in &written {
        assert!(file.metadata().unwrap().len() > 500, "{}", file.display());
    }
    let names: Vec<_> = written
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "report.html",
            "report.md",
            "results.json",
            "goals.svg",
            "throughput.svg",
            "round-trips.svg",
            "cpu.svg",
            "guests.svg",
            "pipelines.svg",
            "native.svg",
            "native-round-trips.svg",
            "paper.svg"
        ]
    );
    assert_eq!(read::file(&into.join("results.json")).unwrap(), rich());
    assert_eq!(
        std::fs::read_dir(&into).unwrap().count(),
        written.len(),
        "nothing else is left there"
    );
    // Again, over what is there; and what it names is there.
    write(&bare(), &into).unwrap();
    let docs = write_docs(&rich(), &into).unwrap();
    let text = std::fs::read_to_string(&docs[0]).unwrap();
    for figure in sections::document(&rich(), None).charts() {
        assert!(text.contains(&format!("]({}.svg)", figure.name)));
        assert!(docs.contains(&into.join(format!("{}.svg", figure.name))));
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = write(&rich(), &file.join("report")).unwrap_err();
    assert!(error.to_string().contains("file/report"), "{error}");
}

#[test]
fn goals_stand_there_with_value_verdict_and_what_was_to_be() {
    let [page, text, _] = shown(&rich());
    let chart = between(&page, "id=\"goals\"", "</figure>");
    for spec in &GOALS {
        assert!(chart.contains(spec.words), "{}", spec.id);
        assert!(
            page.contains(&format!("<td>{}</td>", spec.id)),
            "{}",
            spec.id
        );
        assert!(text.contains(&format!("| {} |", spec.id)), "{}", spec.id);
    }
    let verdict = |id: &str| {
        let row = between(&page, &format!("<td>{id}</td>"), "</tr>");
        between(row.rsplit_once("<td").unwrap().1, ">", "<").to_owned()
    };
    assert_eq!(verdict("vchan-vs-linux-tcp-1k"), "met");
    assert_eq!(verdict("unikernel-tcp-vs-linux-tcp"), "missed");
    assert_eq!(verdict("image"), "not measured");
    assert!(text.contains("Out of reach on this machine"), "{text}");
}

#[test]
fn who_fails_is_shown_as_failed_in_chart_table_and_list() {
    let mut results = rich();
    results
        .samples
        .retain(|sample| sample.subject.contestant != Contestant::LinuxUdp);
    let [page, text, _] = shown(&results);
    let throughput = between(&page, "id=\"throughput\"", "</section>");
    assert!(throughput.contains("Linux, UDP (failed)"), "{throughput}");
    assert!(between(throughput, "<td>Linux, UDP</td>", "</tr>").contains("tone-bad num\">failed<"));
    assert!(
        between(&text, "## Failures", "## All").contains("a message of 65536 bytes is too long")
    );
    // A round alone: said beside its median.
    let [page, ..] = shown(&rich());
    assert!(page.contains("(1 of 6 rounds failed)"));
}

#[test]
fn an_emulated_busy_machine_and_a_run_cut_short_are_said_first() {
    let [page, text, pictures] = shown(&rich());
    let top = between(&page, "<h1>", "id=\"goals\"");
    for words in [
        "emulated by QEMU 7.2 (TCG)",
        "translated",
        "31\u{a0}%",
        "made up: nobody waited",
    ] {
        assert!(top.contains(words), "{words}");
    }
    assert!(between(&page, "<title>", "</title>").contains("TCG"));
    assert!(
        text.starts_with("# MADE UP FOR A TEST: unikernels and Linux guests, emulated by QEMU"),
        "{text}"
    );
    let titles = pictures
        .matches("emulated by QEMU 7.2 (TCG)</title>")
        .count();
    // Those without Xen are not.
    assert_eq!(titles, pictures.matches("<title>").count() - 2);

    let mut quiet = rich();
    quiet.machine.emulator = None;
    quiet.machine.load = Some(Load {
        before: 0.1,
        others: 0.01,
    });
    quiet.cut_short = None;
    let [page, ..] = shown(&quiet);
    for words in ["emulated by QEMU", "translated", "doubtful", "Cut short"] {
        assert!(!page.contains(words), "{words}");
    }
}

#[test]
fn each_chart_carries_its_set_up() {
    let document = sections::document(&rich(), None);
    for figure in document.charts() {
        let on = if figure.name.starts_with("native") {
            "on the host itself (Made-up Host 1)"
        } else {
            "Xen 4.17.5, dom0 Linux 6.1.0-49-amd64, 2 CPUs (Imaginary CPU 9000) emulated by QEMU 7.2 (TCG) on Made-up Host 1"
        };
        assert!(
            figure.set_up.contains(on),
            "{}: {}",
            figure.name,
            figure.set_up
        );
        assert!(
            figure.set_up.contains("of 5 rounds") || figure.set_up.contains("to 5 rounds"),
            "{}",
            figure.name
        );
    }
    let throughput = document
        .charts()
        .find(|figure| figure.name == "throughput")
        .unwrap();
    assert!(
        throughput.set_up.contains("Linux, TCP: default"),
        "{}",
        throughput.set_up
    );
}

#[test]
fn the_paper_stands_beside_ours_in_rows_of_its_own() {
    let [page, text, _] = shown(&rich());
    let paper = between(&page, "id=\"paper\"", "</section>");
    assert!(paper.contains("18(12), 4395"));
    assert!(between(paper, "the paper, sizes", "</tr>").contains(">5\u{d7}</td>"));
    assert!(between(paper, "the paper, sizes", "</tr>").contains(">2.5\u{d7}</td>"));
    assert!(paper.contains("here: unikernel vchan, Linux TCP"));
    assert!(text.contains("here: unikernel vchan, unikernel TCP"));
}

#[test]
fn every_sample_stands_in_the_report_as_it_was_measured() {
    let [page, text, _] = shown(&rich());
    let of = |text: &str, from: &str| text.split_once(from).unwrap().1.to_owned();
    let (page, text) = (of(&page, "id=\"samples\""), of(&text, "## All samples"));
    for sample in &rich().samples {
        let value = sample.value.to_string();
        assert!(page.contains(&value) && text.contains(&value), "{value}");
    }
}

#[test]
fn what_is_no_number_becomes_a_failure_and_is_not_lost() {
    let mut results = bare();
    let tcp = |round, value| {
        sample(
            Contestant::LinuxTcp,
            "",
            Measure::Throughput,
            Some(64),
            round,
            value,
        )
    };
    results.samples = vec![
        tcp(1, f64::NAN),
        tcp(2, -1.0),
        tcp(3, f64::INFINITY),
        tcp(4, 5.0),
    ];
    results.samples.push(tcp(4, 6.0));
    results.seconds = f64::NAN;
    let sound = sound(&results);
    assert_eq!((sound.samples.len(), sound.failures.len()), (1, 4));
    assert_eq!(sound.failures[3].reason, "a second figure for round 4: 6");
    assert_eq!(sound.failures[1].reason, "no figure: -1 in round 2");
    assert_eq!(
        read::document(&serde_json::to_vec(&sound).unwrap()),
        Ok(sound)
    );
}

#[test]
fn hostile_texts_stay_text() {
    let evil = "</pre></text></td><script>alert(1)</script><img src=x onerror=y> \"' | `` [a](javascript:b) \u{1b}[2J\u{202e}\0";
    let mut results = rich();
    let texts = [
        &mut results.title,
        &mut results.tool,
        &mut results.started,
        &mut results.machine.cpu,
        &mut results.machine.xen,
        &mut results.machine.dom0_kernel,
    ];
    for text in texts {
        *text = evil.to_owned();
    }
    results.cut_short = Some(evil.to_owned());
    results.machine.emulator = Some(evil.to_owned());
    results
        .machine
        .more
        .insert(evil.to_owned(), evil.to_owned());
    results.scope.only = vec![evil.to_owned()];
    results.warnings = vec![evil.to_owned()];
    for about in &mut results.contestants {
        about.name = evil.to_owned();
        about.setup = evil.to_owned();
    }
    for failed in &mut results.failures {
        failed.reason = evil.to_owned();
    }
    for sample in &mut results.samples {
        sample.subject.setting += evil;
    }
    let mut older = results.clone();
    older
        .samples
        .iter_mut()
        .for_each(|sample| sample.value *= 2.0);
    older.machine.xen = "other".to_owned();
    let held = against(&older, &results);
    let document = sections::document(&results, Some(&held));
    let [page, text, pictures] = [
        html::render(&document),
        markdown::render(&document),
        document
            .charts()
            .map(|f| f.chart.standalone(&f.title, &f.set_up))
            .collect(),
    ];
    assert!(page.contains("&lt;script&gt;"));
    for form in [&page, &pictures] {
        for tag in ["<script", "<img", "\u{1b}", "\u{202e}", "\0"] {
            assert!(!form.contains(tag), "{tag:?}");
        }
    }
    balanced(&page);
    balanced(&pictures);
    // In Markdown, tags are text outside of fences, which nothing in them can close.
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        match fence {
            Some(end) if line == end => fence = None,
            Some(_) => {}
            None if line.starts_with("```") => fence = Some(line.trim_end_matches("text")),
            None => assert!(
                !line.contains("<script") && !line.contains("<img"),
                "{line}"
            ),
        }
    }
    assert_eq!(fence, None);
    for steering in ["\u{1b}", "\u{202e}", "\0"] {
        assert!(
            !text.contains(steering) && !summary::text(&results, Some(&held)).contains(steering)
        );
    }
}

/// Every element that is begun ends in order.
fn balanced(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in text.split('<').skip(1) {
        let tag = tag.split_once('>').expect("a tag ends").0;
        let name = tag
            .trim_start_matches('/')
            .split_ascii_whitespace()
            .next()
            .unwrap_or_default();
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/')
            && !tag.starts_with('!')
            && !["meta", "br", "img"].contains(&name)
        {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_needs_nothing_else() {
    let [page, ..] = shown(&rich());
    for outside in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    balanced(&page);
}

#[test]
fn an_older_run_is_shown_with_what_changed_and_another_machine_s_is_not() {
    let mut older = rich();
    for sample in &mut older.samples {
        if sample.subject.measure == Measure::RttP50 {
            sample.value /= 3.0;
        }
    }
    let page = |older: &Results| {
        let held = against(older, &rich());
        html::render(&sections::document(&rich(), Some(&held)))
    };
    let changed = page(&older);
    let section = between(&changed, "id=\"against\"", "</section>");
    assert_eq!(section.matches(">worse</td>").count(), 9, "{section}");
    assert!(
        section.contains(": 9 worse, ") && !section.contains("0 better"),
        "{section}"
    );
    older.machine.cpu = "Another".into();
    let refused = page(&older);
    assert!(
        between(&refused, "id=\"against\"", "</section>")
            .contains("CPU was Another and is Imaginary")
    );
}

#[test]
fn a_lonely_contestant_and_a_lonely_failure_have_a_report() {
    let mut lonely = bare();
    lonely.samples = vec![sample(
        Contestant::LinuxTcp,
        "",
        Measure::RttP50,
        None,
        1,
        3.0,
    )];
    let [page, ..] = shown(&lonely);
    assert!(page.contains("One round, so without a spread."));
    assert!(page.contains("0 of 15 goals are met; 15 could not be told."));
    lonely.samples.clear();
    lonely.failures = vec![failed(
        Contestant::NativeVchan,
        "",
        Measure::Throughput,
        Some(64),
        1,
        "no second CPU",
    )];
    let [page, ..] = shown(&lonely);
    assert!(page.contains("Nothing was measured.") && page.contains("no second CPU"));
}
