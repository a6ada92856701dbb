//! Random bytes: the CPU's generator, or, where the CPU has none, the jitter of its counter.

use crate::cpu;

/// Fills `out`.
pub fn fill(out: &mut [u8]) {
    for chunk in out.chunks_mut(size_of::<u64>()) {
        let random = cpu::rdrand().unwrap_or_else(|| jitter(cpu::rdtsc));
        for (byte, random) in chunk.iter_mut().zip(random.to_ne_bytes()) {
            *byte = random;
        }
    }
}

/// As many bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// 64 bits from how long nothing takes: the low bits of 1,024 differences of the counter, which caches, other domains and the
/// hypervisor disturb, mixed as in SplitMix64. Weaker than a generator, and the best there is without one.
fn jitter(counter: impl Fn() -> u64) -> u64 {
    (0..1024).fold(counter(), |state, _| {
        let mut mixed = state.rotate_left(5) ^ counter();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_filled_and_two_fills_differ() {
        let (mut one, mut other) = ([0_u8; 37], [0_u8; 37]);
        fill(&mut one);
        fill(&mut other);
        assert_ne!(one, other);
        // All 37 bytes zero in both at one place would be a chance of 2^-16 for each place left out.
        assert_ne!(one[32..], [0; 5]);
    }

    #[test]
    fn jitter_depends_on_every_difference() {
        let count = core::cell::Cell::new(0u64);
        let steady = || {
            count.set(count.get() + 7);
            count.get()
        };
        let first = jitter(steady);
        count.set(0);
        let late = || {
            count.set(count.get() + if count.get() > 7 * 1000 { 8 } else { 7 });
            count.get()
        };
        assert_ne!(first, jitter(late));
    }
}
