//! The grammar of the parameters' text.

use alloc::borrow::ToOwned;

use super::ParamError;

/// The pairs of a text, in order.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = Result<(&str, &str), ParamError>> {
    let mut rest = text;
    core::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        if rest.is_empty() {
            return None;
        }
        let pair = pair(rest);
        // After an error there is no telling where the next pair begins.
        rest = pair.as_ref().map_or("", |(_, _, after)| after);
        Some(pair.map(|(key, value, _)| (key, value)))
    })
}

/// The pair that `text` begins with, and what follows it.
fn pair(text: &str) -> Result<(&str, &str, &str), ParamError> {
    let word_end = text
        .find(|c: char| c.is_ascii_whitespace())
        .unwrap_or(text.len());
    let key = match text.find('=') {
        Some(equals) if (1..word_end).contains(&equals) => &text[..equals],
        _ => {
            return Err(ParamError::NoValue {
                word: text[..word_end].to_owned(),
            });
        }
    };
    let value = &text[key.len() + 1..];
    if let Some(quoted) = value.strip_prefix('"') {
        let Some(close) = quoted.find('"') else {
            return Err(ParamError::Unclosed {
                key: key.to_owned(),
            });
        };
        let after = &quoted[close + 1..];
        if after.starts_with(|c: char| !c.is_ascii_whitespace()) {
            return Err(ParamError::StrayQuote {
                key: key.to_owned(),
            });
        }
        return Ok((key, &quoted[..close], after));
    }
    let value = &text[key.len() + 1..word_end];
    if value.contains('"') {
        return Err(ParamError::StrayQuote {
            key: key.to_owned(),
        });
    }
    Ok((key, value, &text[word_end..]))
}
