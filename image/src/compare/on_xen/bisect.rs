//! The least number that works. Pure.

/// The least of `range` with which `works`, to within `step`, where more works too; `None` if not even the end of it does.
/// `range` begins with one that is known not to work, or is not tried.
pub fn least<E>(
    range: (u32, u32),
    step: u32,
    mut works: impl FnMut(u32) -> Result<bool, E>,
) -> Result<Option<u32>, E> {
    let (mut fails, mut least) = range;
    if !works(least)? {
        return Ok(None);
    }
    while least - fails > step.max(1) {
        let middle = fails + (least - fails).div_ceil(2);
        if works(middle)? {
            least = middle;
        } else {
            fails = middle;
        }
    }
    Ok(Some(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(range: (u32, u32), step: u32, bound: u32) -> (Option<u32>, Vec<u32>) {
        let mut tried = Vec::new();
        let found = least(range, step, |number| {
            tried.push(number);
            Ok::<_, ()>(number >= bound)
        });
        (found.unwrap(), tried)
    }

    #[test]
    fn every_bound_is_found_and_nothing_is_tried_twice() {
        for bound in 1..=40 {
            let (least, tried) = found((0, 40), 1, bound);
            assert_eq!(least, Some(bound));
            assert!(tried.len() <= 7, "{tried:?}");
            let mut distinct = tried.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), tried.len(), "{tried:?}");
        }
        assert_eq!(found((0, 1), 1, 1), (Some(1), vec![1]));
    }

    #[test]
    fn a_coarse_search_is_right_to_within_its_step() {
        for bound in 33..=96 {
            let (least, tried) = found((32, 96), 4, bound);
            let least = least.unwrap();
            assert!((bound..bound + 4).contains(&least), "{bound}: {least}");
            assert!(tried.len() <= 5);
        }
    }

    #[test]
    fn where_nothing_works_or_trying_fails_nothing_is_found() {
        assert_eq!(found((0, 8), 1, 9), (None, vec![8]));
        assert_eq!(least((0, 8), 1, |_| Err("stopped")), Err("stopped"));
    }
}
