//! `topic=`: where a message goes.

use alloc::string::String;
use core::ops::Range;

use stage::params::ParamError;

/// What a topic may be made of; completes "is not".
const EXPECTED: &str =
    "a topic without + and #, not beginning with $, with at most one of {series} and {name}";

/// Which part of a name is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The name without what follows its last colon.
    Series,
    /// All of the name.
    Name,
}

/// A topic with a place for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    place: Option<(Range<usize>, Part)>,
}

impl Template {
    /// Reads the value of `topic=`.
    pub fn parse(text: &str) -> Result<Self, ParamError> {
        let bad = || ParamError::bad("topic", text, EXPECTED);
        let place = match (text.find('{'), text.find('}')) {
            (None, None) => None,
            (Some(start), Some(end)) if start < end => {
                let part = match text.get(start..=end) {
                    Some("{series}") => Part::Series,
                    Some("{name}") => Part::Name,
                    _ => return Err(bad()),
                };
                Some((start..end + 1, part))
            }
            _ => return Err(bad()),
        };
        let braces = text.matches(['{', '}']).count();
        if braces > 2 || !is_topic(text) {
            return Err(bad());
        }
        Ok(Self {
            text: text.into(),
            place,
        })
    }

    /// Whether all readings have the same topic.
    pub fn is_fixed(&self) -> bool {
        self.place.is_none()
    }

    /// What of a name decides its topic: readings of the same key go together.
    pub fn key<'n>(&self, name: &'n str) -> &'n str {
        match self.place {
            None => "",
            Some((_, Part::Name)) => name,
            Some((_, Part::Series)) => name.rsplit_once(':').map_or(name, |(series, _)| series),
        }
    }

    /// Writes the topic of a key.
    pub fn write(&self, key: &str, topic: &mut String) {
        topic.clear();
        let Some((place, _)) = &self.place else {
            topic.push_str(&self.text);
            return;
        };
        topic.push_str(self.text.get(..place.start).unwrap_or_default());
        topic.push_str(key);
        topic.push_str(self.text.get(place.end..).unwrap_or_default());
    }
}

/// Whether one may publish there (MQTT 5.0, section 4.7).
pub fn is_topic(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('$') && !text.contains(['+', '#', '\0'])
}

/// Whether one may subscribe to it (MQTT 5.0, section 4.7.1).
pub fn is_filter(text: &str) -> bool {
    let mut levels = text.split('/').peekable();
    let mut is_sound = !text.is_empty() && !text.contains('\0');
    while let Some(level) = levels.next() {
        let is_last = levels.peek().is_none();
        is_sound &= match level {
            "+" => true,
            "#" => is_last,
            level => !level.contains(['+', '#']),
        };
    }
    is_sound
}

/// Whether a topic is one of a filter's (MQTT 5.0, section 4.7.1). A filter of a shared subscription is that behind its group.
pub fn matches(filter: &str, topic: &str) -> bool {
    let shared = filter
        .strip_prefix("$share/")
        .and_then(|rest| rest.split_once('/'));
    let filter = shared.map_or(filter, |(_, filter)| filter);
    // Wildcards do not reach the broker's own topics.
    if filter.starts_with(['+', '#']) && topic.starts_with('$') {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(template: &str, name: &str) -> String {
        let template = Template::parse(template).unwrap();
        let mut topic = String::from("old");
        template.write(template.key(name), &mut topic);
        topic
    }

    #[test]
    fn a_name_goes_where_the_template_says() {
        assert_eq!(
            topic("grantflow/{series}", "water-flow:mean"),
            "grantflow/water-flow"
        );
        assert_eq!(
            topic("{series}/now", "urn:dev:ow:10e2:temp"),
            "urn:dev:ow:10e2/now"
        );
        assert_eq!(topic("a/{series}", "plain"), "a/plain");
        assert_eq!(topic("a/{name}/b", "x:y"), "a/x:y/b");
        assert_eq!(topic("all", "x:y"), "all");
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for text in [
            "",
            "$SYS/x",
            "a/+",
            "a/#",
            "{seris}",
            "a{",
            "}a{",
            "{name}{name}",
            "{name}/{series}",
            "{{name}}",
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(alloc::format!("{error}").starts_with("topic: "), "{text}");
        }
    }
    #[test]
    fn filters_are_those_of_the_standard() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("+/+", "/finance", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$share/group/a/+", "a/b", true),
        ] {
            assert!(is_filter(filter), "{filter}");
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
        for text in ["", "a/#/b", "a#", "a/b+", "\0"] {
            assert!(!is_filter(text), "{text}");
        }
    }
}
