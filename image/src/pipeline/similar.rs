//! "Did you mean": the word that a mistyped one most resembles.

/// The closest of `words`, if one is close enough to be meant.
pub fn similar<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // Of short words any is close to any other.
    let limit = word.chars().count() / 3;
    words
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What to say about `word`, which is none of `words`: the closest of them, or all.
pub fn suggest<'w>(word: &str, words: impl IntoIterator<Item = &'w str> + Clone) -> String {
    match similar(word, words.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            let all: Vec<&str> = words.into_iter().collect();
            match all.as_slice() {
                [] => "there is none".to_owned(),
                all => format!("there are: {}", all.join(", ")),
            }
        }
    }
}

/// How many characters to insert, to remove, to change or to swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // A name that is much longer is another name; and hostile ones cost no time.
    if a.len().abs_diff(b.len()) > 8 || a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let changed = last[j] + usize::from(x != y);
            let mut best = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_as_one_would_type_them() {
        for (a, b, expected) in [
            ("memory", "memory", 0),
            ("memroy", "memory", 1),
            ("memry", "memory", 1),
            ("mmory", "memory", 1),
            ("", "ring", 4),
            ("ring", "name", 4),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_word_far_from_all_gets_the_list() {
        let words = ["name", "app", "memory"];
        assert_eq!(suggest("memroy", words), "did you mean `memory`?");
        assert_eq!(suggest("zzz", words), "there are: name, app, memory");
        assert_eq!(suggest("x", []), "there is none");
        assert_eq!(similar(&"x".repeat(1 << 20), words), None);
    }
}
