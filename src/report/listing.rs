//! Lists of applications and jobs.

use super::Options;
use super::line::Tone;
use super::table::{Row, table};
use super::text::clean;

/// Rows under headings, one cell per heading, as wide as the terminal.
#[must_use]
pub fn listing(
    headings: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    options: &Options,
) -> String {
    let rows: Vec<Row> = rows
        .map(|cells| (cells.iter().map(|cell| clean(cell)).collect(), Tone::Normal))
        .collect();
    let lines = table(headings, &rows, options.width(), options.out_colour);
    lines.into_iter().map(|line| line + "\n").collect()
}
