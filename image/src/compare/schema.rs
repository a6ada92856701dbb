//! The JSON Schema of `results.json`, and whether a document is as it says. Pure.

use serde_json::{Map, Value, json};

use super::catalogue::{Contestant, Measure};
use super::goals::GOALS;
use super::results::SCHEMA;

/// The schema (JSON Schema 2020-12).
pub fn schema() -> Value {
    let mut schema = object(
        "A comparison of the same work on unikernels and on Linux guests.",
        vec![
            required(
                "schema",
                "The version of this document",
                json!({ "const": SCHEMA }),
            ),
            required(
                "title",
                "What was compared where; says so if the machine was emulated",
                text(),
            ),
            required("tool", "The program that measured, and its version", text()),
            required("started", "When it began, RFC 3339", text()),
            required("seconds", "How long it took", number()),
            required("scope", "What was asked for", scope()),
            required(
                "cut_short",
                "Why it ended before everything was measured; null if it did not",
                or_null(text()),
            ),
            required("machine", "On what it ran", machine()),
            required(
                "contestants",
                "Who was compared, and how each was set up",
                list(contestant()),
            ),
            required("measures", "By what", list(measure())),
            required(
                "goals",
                "What is to be reached, and whether it was",
                list(goal()),
            ),
            required("samples", "Each figure of each round", list(sample())),
            required(
                "failures",
                "What failed or gave wrong bytes",
                list(failure()),
            ),
            required(
                "warnings",
                "What makes figures doubtful: a busy machine, a check that was left out",
                list(text()),
            ),
        ],
    );
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Results of grantflow compare".into();
    schema
}

fn scope() -> Value {
    object(
        "What was asked for",
        vec![
            required(
                "quick",
                "Only what the goals need",
                json!({ "type": "boolean" }),
            ),
            required(
                "only",
                "Only these contestants, measures or goals; empty for all",
                list(text()),
            ),
            required("rounds", "How often each figure was taken", count(0)),
        ],
    )
}

fn machine() -> Value {
    let load = object(
        "How busy the host was",
        vec![
            required("before", "Its load of one minute before it began", number()),
            required(
                "others",
                "The share of the host's CPU time that others took meanwhile",
                json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            ),
        ],
    );
    object(
        "On what it ran",
        vec![
            required("cpu", "The CPU by its own name", text()),
            required(
                "cpus",
                "How many of them the machine under Xen has",
                count(0),
            ),
            required("memory_mib", "Its memory, in MiB", count(0)),
            required(
                "emulator",
                "What emulated the machine, as in QEMU 7.2 (TCG); null if nothing did",
                or_null(text()),
            ),
            required("xen", "Xen's version", text()),
            required("dom0_kernel", "Dom0's kernel", text()),
            required(
                "load",
                "How busy the host was; null if nobody looked",
                or_null(load),
            ),
            required(
                "more",
                "Whatever else a reader wants to know: name and value",
                json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            ),
        ],
    )
}

fn contestant() -> Value {
    object(
        "A way to move readings between two functions",
        vec![
            required(
                "id",
                "Its word",
                words(&Contestant::ALL.map(Contestant::id)),
            ),
            required("name", "What a reader calls it", text()),
            required(
                "setup",
                "How it was set up: kernel, memory, options, programs; lines",
                text(),
            ),
        ],
    )
}

fn measure() -> Value {
    object(
        "What is measured",
        vec![
            required("id", "Its word", words(&Measure::ALL.map(Measure::id))),
            required("name", "What a reader calls it", text()),
            required("unit", "The unit of its values", text()),
            required(
                "better",
                "Which of two values is the better one",
                words(&["higher", "lower"]),
            ),
        ],
    )
}

fn goal() -> Value {
    object(
        "A ratio of two medians that is to be reached",
        vec![
            required("id", "Its word", words(&GOALS.map(|goal| goal.id))),
            required("goal", "The least ratio", number()),
            required(
                "value",
                "What was reached; null where one of the two was not measured, or failed",
                or_null(number()),
            ),
            required(
                "met",
                "Whether that is enough",
                json!({ "type": "boolean" }),
            ),
        ],
    )
}

fn sample() -> Value {
    let mut keys = subject();
    keys.push(required(
        "value",
        "How much, in the measure's unit",
        number(),
    ));
    object("A figure of one round", keys)
}

fn failure() -> Value {
    let mut keys = subject();
    keys.push(required(
        "reason",
        "Why there is no figure, in one line",
        text(),
    ));
    object("A run that gave no figure", keys)
}

fn subject() -> Vec<Key> {
    let setting = "By which of the contestant's settings; absent where there is one alone";
    vec![
        required(
            "contestant",
            "Who",
            words(&Contestant::ALL.map(Contestant::id)),
        ),
        optional("setting", setting, text()),
        required("measure", "By what", words(&Measure::ALL.map(Measure::id))),
        optional("size", "Bytes in a message, where that matters", count(0)),
        required("round", "In which round, from 1", count(1)),
    ]
}

struct Key {
    name: &'static str,
    required: bool,
    value: Value,
}

fn required(name: &'static str, help: &str, value: Value) -> Key {
    Key {
        required: true,
        ..optional(name, help, value)
    }
}

fn optional(name: &'static str, help: &str, mut value: Value) -> Key {
    value["description"] = help.into();
    Key {
        name,
        required: false,
        value,
    }
}

fn object(help: &str, keys: Vec<Key>) -> Value {
    let wanted: Vec<&str> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let wanted = json!(wanted);
    let properties: Map<String, Value> = keys
        .into_iter()
        .map(|key| (key.name.to_owned(), key.value))
        .collect();
    json!({
        "type": "object",
        "description": help,
        "additionalProperties": false,
        "required": wanted,
        "properties": properties,
    })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn number() -> Value {
    json!({ "type": "number", "minimum": 0 })
}

fn count(least: u64) -> Value {
    json!({ "type": "integer", "minimum": least })
}

fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn or_null(mut value: Value) -> Value {
    let kind = value["type"].take();
    value["type"] = json!([kind, "null"]);
    value
}

/// The first thing in which a document is not as the schema says: where and what.
pub fn check(document: &Value) -> Result<(), String> {
    fits(document, &schema(), "")
}

/// As much of JSON Schema as [`schema`] uses.
fn fits(value: &Value, schema: &Value, place: &str) -> Result<(), String> {
    let at = |text: String| {
        let place = if place.is_empty() {
            "the document"
        } else {
            place
        };
        Err(format!("{place} {text}"))
    };
    if let Some(constant) = schema.get("const")
        && value != constant
    {
        return at(format!("is {}, not {constant}", shown(value)));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(value, kind)) {
        return at(format!("is {}, not {}", shown(value), kinds.join(" or ")));
    }
    if let (Some(words), Value::String(_)) = (schema["enum"].as_array(), value)
        && !words.contains(value)
    {
        return at(format!(
            "is {}, which this version does not know",
            shown(value)
        ));
    }
    if let Some(number) = value.as_f64() {
        if let Some(least) = schema["minimum"].as_f64()
            && number < least
        {
            return at(format!("is {number}, and cannot be less than {least}"));
        }
        if let Some(most) = schema["maximum"].as_f64()
            && number > most
        {
            return at(format!("is {number}, and cannot be more than {most}"));
        }
    }
    match value {
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            fits(item, &schema["items"], &format!("{place}[{index}]"))
        }),
        Value::Object(keys) => keys_fit(keys, schema, place),
        _ => Ok(()),
    }
}

fn keys_fit(keys: &Map<String, Value>, schema: &Value, place: &str) -> Result<(), String> {
    let inside = |key: &str| {
        if place.is_empty() {
            key.to_owned()
        } else {
            format!("{place}.{key}")
        }
    };
    for wanted in schema["required"].as_array().into_iter().flatten() {
        let wanted = wanted.as_str().unwrap_or_default();
        if !keys.contains_key(wanted) {
            return Err(format!("{} is missing", inside(wanted)));
        }
    }
    keys.iter().try_for_each(|(key, value)| {
        let known = schema["properties"].get(key);
        match known.or(schema["additionalProperties"]
            .as_object()
            .map(|_| &schema["additionalProperties"]))
        {
            Some(schema) => fits(value, schema, &inside(key)),
            None => Err(format!("{} is no key of it", inside(&clip(key)))),
        }
    })
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => clip(&other.to_string()),
    }
}

fn clip(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short + "..."
    } else {
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing;
    use std::collections::BTreeSet;

    /// The places of all keys, those of list items without a number.
    fn places(value: &Value, place: &str, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(keys) => keys.iter().for_each(|(key, value)| {
                let place = format!("{place}.{key}");
                into.insert(place.clone());
                // Its names are anyone's.
                if key != "more" {
                    places(value, &place, into);
                }
            }),
            Value::Array(items) => items.iter().for_each(|item| places(item, place, into)),
            _ => {}
        }
    }

    fn described(schema: &Value, place: &str, into: &mut BTreeSet<String>) {
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}.{key}");
            assert!(
                value["description"]
                    .as_str()
                    .is_some_and(|text| text.len() > 2),
                "{place}"
            );
            into.insert(place.clone());
            described(value, &place, into);
            described(&value["items"], &place, into);
        }
    }

    #[test]
    fn every_key_that_is_written_is_described_and_every_described_one_is_written() {
        let mut written = BTreeSet::new();
        places(
            &serde_json::to_value(testing::rich()).unwrap(),
            "",
            &mut written,
        );
        let mut known = BTreeSet::new();
        described(&schema(), "", &mut known);
        assert_eq!(written, known);
    }

    #[test]
    fn what_is_written_is_as_the_schema_says() {
        let rich = serde_json::to_value(testing::rich()).unwrap();
        assert_eq!(check(&rich), Ok(()));
        let bare = serde_json::to_value(testing::bare()).unwrap();
        assert_eq!(check(&bare), Ok(()));
    }

    #[test]
    fn whatever_is_taken_away_or_added_is_named() {
        let rich = serde_json::to_value(testing::rich()).unwrap();
        let broken = |change: &dyn Fn(&mut Value)| {
            let mut document = rich.clone();
            change(&mut document);
            check(&document).unwrap_err()
        };
        let takes = |key: &str| {
            broken(&|document| {
                document.as_object_mut().unwrap().remove(key);
            })
        };
        for key in rich.as_object().unwrap().keys() {
            assert_eq!(takes(key), format!("{key} is missing"));
        }
        assert_eq!(
            broken(&|document| document["samples"][3]["value"] = json!(-1.5)),
            "samples[3].value is -1.5, and cannot be less than 0"
        );
        assert_eq!(
            broken(&|document| document["samples"][0]["value"] = Value::Null),
            "samples[0].value is null, not number"
        );
        assert_eq!(
            broken(&|document| document["samples"][1]["contestant"] = json!("windows")),
            "samples[1].contestant is \"windows\", which this version does not know"
        );
        assert_eq!(
            broken(&|document| document["machine"]["load"]["others"] = json!(1.5)),
            "machine.load.others is 1.5, and cannot be more than 1"
        );
        assert_eq!(
            broken(&|document| document["scope"]["fast"] = json!(true)),
            "scope.fast is no key of it"
        );
        assert_eq!(
            broken(&|document| document["machine"]["more"]["x"] = json!(1)),
            "machine.more.x is 1, not string"
        );
        assert_eq!(
            check(&json!([])).unwrap_err(),
            "the document is a list, not object"
        );
    }
}
