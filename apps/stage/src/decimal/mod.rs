//! Floats as decimal text, both ways, exactly: [`parse`] rounds once to the nearest, and [`Shortest`]
//! shows the shortest digits that read back as the same number.
//!
//! `core` can do both, and faster where digits are many, but with tables and three algorithms that
//! weigh 30 KB: a fifth of an image. Here numbers of up to 15 digits, as records hold them, take one
//! multiplication or division; the rest takes long division.

mod big;
mod read;
mod write;

pub use read::parse;
pub(crate) use read::scaled;
pub use write::Shortest;

#[cfg(test)]
mod tests;
