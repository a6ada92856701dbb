//! Any results at all.

use proptest::prelude::*;

use super::{balanced, shown};
use crate::compare::against::against;
use crate::compare::catalogue::{Contestant, Measure};
use crate::compare::goals::GOALS;
use crate::compare::read;
use crate::compare::report::files::sound;
use crate::compare::report::{html, sections, summary};
use crate::compare::results::{
    About, Failed, Goal, Load, Machine, MeasureInfo, Results, SCHEMA, Sample, Scope, Subject,
};

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z,]{1,12}",
        "\\PC{0,60}",
        prop::collection::vec(any::<char>(), 0..30).prop_map(|chars| chars.into_iter().collect())
    ]
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        1.0..1e10,
        Just(0.0),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        prop::num::f64::ANY
    ]
}

fn any_subject() -> impl Strategy<Value = Subject> {
    let size = prop_oneof![
        Just(None),
        Just(Some(64)),
        Just(Some(1024)),
        Just(Some(65_536)),
        any::<Option<u64>>()
    ];
    (
        prop::sample::select(&Contestant::ALL[..]),
        any_text(),
        prop::sample::select(&Measure::ALL[..]),
        size,
    )
        .prop_map(|(contestant, setting, measure, size)| Subject {
            contestant,
            setting,
            measure,
            size,
        })
}

fn any_machine() -> impl Strategy<Value = Machine> {
    let texts = (
        any_text(),
        any_text(),
        any_text(),
        prop::option::of(any_text()),
    );
    let load = prop::option::of((any_value(), any_value()));
    let more = prop::collection::btree_map(any_text(), any_text(), 0..3);
    (texts, any::<(u32, u64)>(), load, more).prop_map(
        |((cpu, xen, dom0_kernel, emulator), (cpus, memory_mib), load, more)| Machine {
            cpu,
            cpus,
            memory_mib,
            emulator,
            xen,
            dom0_kernel,
            load: load.map(|(before, others)| Load { before, others }),
            more,
        },
    )
}

fn any_results() -> impl Strategy<Value = Results> {
    let samples = prop::collection::vec((any_subject(), 0..4_u32, any_value()), 0..40);
    let failures = prop::collection::vec((any_subject(), 0..4_u32, any_text()), 0..8);
    let goals = prop::collection::vec(
        (
            any_text(),
            any_value(),
            prop::option::of(any_value()),
            any::<bool>(),
        ),
        0..4,
    );
    let texts = (
        any_text(),
        any_text(),
        prop::option::of(any_text()),
        prop::collection::vec(any_text(), 0..3),
    );
    let about = prop::collection::vec(
        (prop::sample::select(&Contestant::ALL[..]), any_text()),
        0..4,
    );
    (
        samples,
        failures,
        goals,
        texts,
        about,
        any_machine(),
        any_value(),
    )
        .prop_map(
            |(
                samples,
                failures,
                goals,
                (title, started, cut_short, warnings),
                about,
                machine,
                seconds,
            )| Results {
                schema: SCHEMA,
                title,
                tool: String::new(),
                started,
                seconds,
                scope: Scope::default(),
                cut_short,
                machine,
                contestants: about
                    .into_iter()
                    .map(|(id, setup)| About {
                        id,
                        name: setup.clone(),
                        setup,
                    })
                    .collect(),
                measures: Measure::ALL.map(MeasureInfo::from).to_vec(),
                goals: goals
                    .into_iter()
                    .map(|(id, goal, value, met)| Goal {
                        id,
                        goal,
                        value,
                        met,
                    })
                    .collect(),
                samples: samples
                    .into_iter()
                    .map(|(subject, round, value)| Sample {
                        subject,
                        round,
                        value,
                    })
                    .collect(),
                failures: failures
                    .into_iter()
                    .map(|(subject, round, reason)| Failed {
                        subject,
                        round,
                        reason,
                    })
                    .collect(),
                warnings,
            },
        )
}

proptest! {
    #[test]
    fn whatever_results_are_their_report_is_whole(results in any_results(), older in any_results()) {
        let sound = sound(&results);
        prop_assert_eq!(sound.goals.len(), GOALS.len());
        // Every run is a figure or a failure.
        prop_assert_eq!(
            sound.samples.len() + sound.failures.len(),
            results.samples.len() + results.failures.len()
        );
        let [page, text, pictures] = shown(&results);
        for form in [&page, &pictures] {
            balanced(form);
        }
        let coordinates = pictures.split('"').skip(1).step_by(2);
        for attribute in coordinates {
            prop_assert!(!attribute.contains("NaN") && !attribute.contains("inf"), "{}", attribute);
        }
        prop_assert!(text.starts_with("# "));
        prop_assert!(!summary::text(&results, None).is_empty());
        let held = against(&older, &results);
        prop_assert!(html::render(&sections::document(&results, Some(&held))).ends_with("</html>\n"));
    }

    #[test]
    fn what_is_written_is_read_again(results in any_results()) {
        let sound = sound(&results);
        let text = serde_json::to_vec(&sound).unwrap();
        prop_assert_eq!(read::document(&text), Ok(sound));
    }
}
