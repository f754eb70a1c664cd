//! Benchmarks as data: what was measured, and the report that is made of it.
//!
//! Pure: `benches/` does the measuring and draws the plots.

mod results;
mod sample;
mod timings;
mod words;

mod markdown;

pub use markdown::report;
pub use results::{Bar, Line, Machine, Plot, Results, Section, Stack, Table};
pub use sample::{Figure, Run, Series, Spread, Target, Unit};
pub use timings::Timings;
pub use words::{bytes, number, scrubbed, seconds};
