//! The grammar of the parameters' text.

use alloc::borrow::ToOwned;
use alloc::string::String;

use super::{ParamError, ParamProblem};

/// Appends a word to a list of them. Not inlined: one copy serves every list.
#[inline(never)]
pub(super) fn list(words: &mut String, word: &str) {
    if !words.is_empty() {
        words.push_str(", ");
    }
    words.push_str(word);
}

/// The pair that `text` begins with, and what follows it.
pub(super) fn pair(text: &str) -> Result<(&str, &str, &str), ParamError> {
    let space = |text: &str| {
        let at = text.bytes().position(|b| b.is_ascii_whitespace());
        at.unwrap_or(text.len())
    };
    let word_end = space(text);
    let Some((key, value)) = text
        .split_once('=')
        .filter(|(key, _)| (1..word_end).contains(&key.len()))
    else {
        let word = text.get(..word_end).unwrap_or_default().to_owned();
        return Err(ParamProblem::NoValue { word }.into());
    };
    let stray = || {
        Err(ParamProblem::StrayQuote {
            key: key.to_owned(),
        }
        .into())
    };
    if let Some(quoted) = value.strip_prefix('"') {
        let Some((content, after)) = quoted.split_once('"') else {
            return Err(ParamProblem::Unclosed {
                key: key.to_owned(),
            }
            .into());
        };
        if !after.is_empty() && space(after) > 0 {
            return stray();
        }
        return Ok((key, content, after));
    }
    let (value, after) = value.split_at_checked(space(value)).unwrap_or((value, ""));
    if value.contains('"') {
        return stray();
    }
    Ok((key, value, after))
}
