//! The JSON Schema of a pipeline's file, for editors that complete and check TOML.

use serde_json::{Map, Value, json};

use stage::note::ParameterLine;
use stage::params::{EdgeName, MAX_RING, MIN_RING};

use super::check::{Catalogue, is_ours};
use super::keys::{Key, MEMORY_MAX, NAME_MAX, Shape, TABLES, Table};
use super::read::expected;

/// The schema (JSON Schema 2020-12), with what these images take.
pub fn schema(images: &Catalogue) -> Value {
    let mut properties = Map::new();
    let mut top = json!({});
    for table in TABLES {
        let mut object = object(table);
        match (table.name, table.many) {
            ("", _) => top = object,
            ("stage", _) => {
                object["allOf"] = images
                    .iter()
                    .map(|(name, image)| parameters_of(name, &image.parameters))
                    .collect();
                object["properties"]["app"]["enum"] = images.keys().cloned().collect();
                properties.insert("stage".into(), json!({ "type": "array", "items": object }));
            }
            (name, true) => {
                properties.insert(name.into(), json!({ "type": "array", "items": object }));
            }
            (name, false) => {
                properties.insert(name.into(), object);
            }
        }
    }
    top["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    top["title"] = "Grantflow pipeline".into();
    if let Some(own) = top["properties"].as_object_mut() {
        own.append(&mut properties);
    }
    top
}

fn object(table: &Table) -> Value {
    let properties: Map<String, Value> = table
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<&str> = table
        .keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "description": table.help,
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn property(key: &Key) -> Value {
    let name = || format!("^[a-z][a-z0-9-]{{0,{}}}$", NAME_MAX - 1);
    let mut value = match key.shape {
        Shape::Text | Shape::File | Shape::Address => json!({ "type": "string", "minLength": 1 }),
        Shape::Name => json!({ "type": "string", "pattern": name() }),
        Shape::EdgeName => {
            let pattern = format!("^[a-z0-9][a-z0-9_-]{{0,{}}}$", EdgeName::MAX - 1);
            json!({ "type": "string", "pattern": pattern })
        }
        Shape::Bridge => json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,15}$" }),
        Shape::Choice(words) => json!({ "type": "string", "enum": words }),
        Shape::Mebibytes => json!({ "type": "integer", "minimum": 1, "maximum": MEMORY_MAX }),
        Shape::Ring => json!({ "anyOf": [
            { "type": "integer", "minimum": MIN_RING, "maximum": MAX_RING },
            { "type": "string", "pattern": "^[0-9]+[KkMm]?$" },
        ] }),
        Shape::Span => json!({ "type": "string", "pattern": "^[0-9]+(ns|us|ms|s|m|h|d)$" }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Parameters => json!({ "type": "object" }),
    };
    value["description"] = format!("{} ({})", key.help, expected(&key.shape)).into();
    if !key.default.is_empty() {
        // Defaults are written as in TOML, which for these values is JSON.
        value["default"] = serde_json::from_str(key.default).unwrap_or(Value::Null);
    }
    value
}

/// What `[stage.parameters]` takes where the app is this one.
fn parameters_of(app: &str, parameters: &[ParameterLine]) -> Value {
    let mut properties = Map::new();
    for parameter in parameters
        .iter()
        .filter(|parameter| !is_ours(&parameter.name))
    {
        let mut value = match parameter.choices() {
            Some(words) => json!({ "enum": words.collect::<Vec<_>>() }),
            None => json!({ "type": ["string", "number", "boolean"] }),
        };
        value["description"] = described(parameter).into();
        // `name.COL` is a table in TOML, with a key for each COL.
        match parameter.family() {
            Some(prefix) => {
                let name = prefix.trim_end_matches('.').to_owned();
                properties.insert(
                    name,
                    json!({ "type": "object", "additionalProperties": value }),
                );
            }
            None => {
                properties.insert(parameter.name.clone(), value);
            }
        }
    }
    json!({
        "if": { "properties": { "app": { "const": app } } },
        "then": { "properties": { "parameters": {
            "additionalProperties": false,
            "properties": properties,
        } } },
    })
}

fn described(parameter: &ParameterLine) -> String {
    let mut text = parameter.help.clone();
    if !parameter.unit.is_empty() {
        text += &format!(", in {}", parameter.unit);
    }
    if !parameter.default.is_empty() {
        text += &format!(" [default: {}]", parameter.default);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::images;

    #[test]
    fn every_key_that_is_read_is_described_and_no_other_is_allowed() {
        let schema = schema(&images());
        for table in TABLES {
            let object = match (table.name, table.many) {
                ("", _) => &schema,
                (name, true) => &schema["properties"][name]["items"],
                (name, false) => &schema["properties"][name],
            };
            assert_eq!(object["additionalProperties"], false, "{}", table.name);
            for key in table.keys {
                let property = &object["properties"][key.name];
                assert!(
                    property["description"].is_string(),
                    "{} {}",
                    table.name,
                    key.name
                );
                let has_default = !property["default"].is_null();
                assert_eq!(
                    has_default,
                    !key.default.is_empty(),
                    "{} {}",
                    table.name,
                    key.name
                );
            }
        }
    }

    #[test]
    fn an_image_s_parameters_are_allowed_where_it_is_the_app() {
        let schema = schema(&images());
        let rules = schema["properties"]["stage"]["items"]["allOf"]
            .as_array()
            .unwrap();
        let sensor = rules
            .iter()
            .find(|rule| rule["if"]["properties"]["app"]["const"] == "sensor")
            .unwrap();
        let parameters = &sensor["then"]["properties"]["parameters"]["properties"];
        assert_eq!(parameters["signal"]["enum"], json!(["csv", "sine"]));
        assert!(
            parameters["name"]["additionalProperties"].is_object(),
            "a family is a table"
        );
        assert!(
            parameters["stage"].is_null() && parameters["in"].is_null(),
            "the tool writes these"
        );
    }
}
