//! Which of the domain's frames are free. Pure: numbers only.
//!
//! The heap grows from the bottom of the free range, whole frames are handed out from the top down; where the two meet,
//! memory is out. Runs are contiguous, since a ring is mapped as one range.

use core::fmt;

use super::Pfn;

/// No run of free frames is that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames {
    /// How many contiguous frames were wanted.
    pub wanted: usize,
}

impl fmt::Display for OutOfFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "out of memory: no {} free frames in a row; raise memory= in the domain's config",
            self.wanted
        )
    }
}

impl core::error::Error for OutOfFrames {}

/// One bit a frame; set while the frame is in use. The words come from the caller, since the heap stands on this map.
#[derive(Debug)]
pub struct FrameMap<'a> {
    used: &'a mut [u64],
    frames: usize,
}

impl<'a> FrameMap<'a> {
    /// How many words a map of `frames` frames takes.
    pub const fn words(frames: usize) -> usize {
        frames.div_ceil(64)
    }

    /// All `frames` frames are in use until they are given.
    pub fn new(words: &'a mut [u64], frames: usize) -> Self {
        words.fill(u64::MAX);
        let frames = frames.min(words.len() * 64);
        Self {
            used: words,
            frames,
        }
    }

    fn is_free(&self, frame: usize) -> bool {
        frame < self.frames && self.used[frame / 64] & (1 << (frame % 64)) == 0
    }

    /// Takes `count` contiguous frames, as far up as there are any.
    pub fn take(&mut self, count: usize) -> Result<Pfn, OutOfFrames> {
        let mut run = 0;
        for frame in (0..self.frames).rev() {
            run = if self.is_free(frame) { run + 1 } else { 0 };
            if run == count {
                self.mark(frame, count);
                return Ok(Pfn(frame));
            }
        }
        Err(OutOfFrames { wanted: count })
    }

    /// Takes the lowest free frame.
    pub fn take_lowest(&mut self) -> Result<Pfn, OutOfFrames> {
        let lowest = (0..self.frames).find(|&frame| self.is_free(frame));
        let frame = lowest.ok_or(OutOfFrames { wanted: 1 })?;
        self.mark(frame, 1);
        Ok(Pfn(frame))
    }

    /// Takes the `count` frames from `first` on, if all of them are free: how the heap grows.
    pub fn take_at(&mut self, first: Pfn, count: usize) -> Result<(), OutOfFrames> {
        if !(first.0..first.0.saturating_add(count)).all(|frame| self.is_free(frame)) {
            return Err(OutOfFrames { wanted: count });
        }
        self.mark(first.0, count);
        Ok(())
    }

    /// Frees `count` frames from `first` on.
    ///
    /// # Panics
    /// When one of them is free already: the caller's books are wrong, and handing it out twice would be worse.
    pub fn give(&mut self, first: Pfn, count: usize) {
        for frame in first.0..first.0 + count {
            assert!(
                frame < self.frames && !self.is_free(frame),
                "frame {frame} freed twice"
            );
            self.used[frame / 64] &= !(1 << (frame % 64));
        }
    }

    /// Free frames in all.
    pub fn free(&self) -> usize {
        (0..self.frames)
            .filter(|&frame| self.is_free(frame))
            .count()
    }

    fn mark(&mut self, first: usize, count: usize) {
        for frame in first..first + count {
            self.used[frame / 64] |= 1 << (frame % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use std::ops::Range;
    use std::vec::Vec;

    fn map(words: &mut [u64; 1], range: Range<usize>) -> FrameMap<'_> {
        let mut map = FrameMap::new(words, 64);
        map.give(Pfn(range.start), range.len());
        map
    }

    #[test]
    fn frames_come_from_the_top_and_the_heap_from_the_bottom() {
        let mut words = [0];
        let mut map = map(&mut words, 10..20);
        assert_eq!(map.take(3), Ok(Pfn(17)));
        assert_eq!(map.take_at(Pfn(10), 4), Ok(()));
        assert_eq!(map.take(4), Err(OutOfFrames { wanted: 4 }));
        assert_eq!(map.take(3), Ok(Pfn(14)));
        assert_eq!(map.free(), 0);
    }

    #[test]
    fn the_lowest_frames_leave_the_rest_in_one_piece() {
        let mut words = [0];
        let mut map = map(&mut words, 10..14);
        assert_eq!(map.take_lowest(), Ok(Pfn(10)));
        assert_eq!(map.take_lowest(), Ok(Pfn(11)));
        assert_eq!(map.take(2), Ok(Pfn(12)));
        assert_eq!(map.take_lowest(), Err(OutOfFrames { wanted: 1 }));
    }

    #[test]
    fn a_taken_frame_stops_the_heap() {
        let mut words = [0];
        let mut map = map(&mut words, 10..20);
        assert_eq!(map.take_at(Pfn(15), 1), Ok(()));
        assert_eq!(map.take_at(Pfn(14), 2), Err(OutOfFrames { wanted: 2 }));
        assert_eq!(map.free(), 9);
    }

    #[test]
    #[should_panic(expected = "freed twice")]
    fn a_double_free_is_told() {
        map(&mut [0], 10..20).give(Pfn(12), 1);
    }

    proptest! {
        /// Against a plain set: never the same frame twice, and what is given back can be taken again as one run.
        #[test]
        fn agrees_with_a_set_of_frames(steps in proptest::collection::vec((0usize..3, 1usize..5), 1..60)) {
            let mut words = [0];
            let mut frames = map(&mut words, 0..32);
            let mut free: std::collections::BTreeSet<usize> = (0..32).collect();
            let mut taken: Vec<(usize, usize)> = Vec::new();
            for (step, count) in steps {
                match step {
                    0 | 1 => match frames.take(count) {
                        Ok(Pfn(first)) => {
                            for frame in first..first + count {
                                prop_assert!(free.remove(&frame));
                            }
                            taken.push((first, count));
                        }
                        Err(_) => prop_assert!((0..32).all(|first| !(first..first + count).all(|frame| free.contains(&frame)))),
                    },
                    _ => if let Some((first, count)) = taken.pop() {
                        frames.give(Pfn(first), count);
                        free.extend(first..first + count);
                    },
                }
                prop_assert_eq!(frames.free(), free.len());
            }
            for (first, count) in taken {
                frames.give(Pfn(first), count);
            }
            prop_assert_eq!(frames.take(32), Ok(Pfn(0)));
        }
    }
}
