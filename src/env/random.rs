//! Random numbers: ids, tokens, secrets.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{RngCore as _, SeedableRng as _};

/// Draws random numbers. Its clones draw from the same source.
#[derive(Clone)]
pub struct Randomness(Arc<Mutex<FillBytes>>);

/// Fills a buffer with random numbers.
type FillBytes = dyn FnMut(&mut [u8]) + Send;

impl std::fmt::Debug for Randomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Randomness").finish_non_exhaustive()
    }
}

impl Default for Randomness {
    /// This machine's.
    fn default() -> Self {
        Self::system()
    }
}

impl Randomness {
    /// This machine's; nobody can guess what it draws.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the random numbers of the real machine"
    )]
    pub fn system() -> Self {
        Self::from_source(|bytes| rand::rng().fill_bytes(bytes))
    }

    /// The same numbers each time for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut numbers = rand::rngs::StdRng::seed_from_u64(seed);
        Self::from_source(move |bytes| numbers.fill_bytes(bytes))
    }

    /// Numbers from a function that fills a buffer with them.
    #[must_use]
    pub fn from_source(fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(fill)))
    }

    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        let mut fill = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (*fill)(&mut bytes);
        bytes
    }

    /// So many bits as hexadecimal digits: 32, 64 or 128 of them.
    #[must_use]
    pub fn hex32(&self) -> String {
        format!("{:08x}", u32::from_le_bytes(self.bytes()))
    }

    #[must_use]
    pub fn hex64(&self) -> String {
        format!("{:016x}", u64::from_le_bytes(self.bytes()))
    }

    #[must_use]
    pub fn hex128(&self) -> String {
        format!("{:032x}", u128::from_le_bytes(self.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_numbers_again() {
        let draw = |random: &Randomness| [random.hex32(), random.hex64(), random.hex128()];
        assert_eq!(draw(&Randomness::seeded(7)), draw(&Randomness::seeded(7)));
        assert_ne!(draw(&Randomness::seeded(7)), draw(&Randomness::seeded(8)));
        assert_ne!(draw(&Randomness::system()), draw(&Randomness::system()));
        let random = Randomness::seeded(7);
        assert_ne!(draw(&random), draw(&random.clone()), "one source");
        assert_eq!(draw(&random).map(|text| text.len()), [8, 16, 32]);
    }
}
