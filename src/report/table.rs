//! Aligned columns that fit a width.

use super::line::{StyledLine, Tone};
use super::text::{pad, width as columns, wrap};

/// A row: one cell per heading, and the tone of the whole row.
pub(super) type Row = (Vec<String>, Tone);

/// Least columns of the last cell; below this each row becomes a record of its own.
const MIN_LAST_COLUMNS: usize = 16;

/// Rows under headings, indented by two, each line at most `width` columns. The widest columns wrap,
/// as far as their words allow.
pub(super) fn table(headings: &[&str], rows: &[Row], width: usize, colour: bool) -> Vec<String> {
    let Some(sizes) = fit(headings, rows, width) else {
        return records(headings, rows, width, colour);
    };
    let heading: Vec<_> = headings.iter().map(|h| (*h).to_owned()).collect();
    let mut out = Vec::new();
    for (cells, tone) in std::iter::once(&(heading, Tone::Dim)).chain(rows) {
        let cells = cells.iter().zip(&sizes);
        let cells: Vec<Vec<String>> = cells
            .map(|(cell, size)| wrap(cell, *size, "", ""))
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..height {
            let mut line = String::from("  ");
            for (cell, size) in cells.iter().zip(&sizes) {
                line.push_str(&pad(cell.get(at).map_or("", String::as_str), size + 2));
            }
            out.push(StyledLine::with(line.trim_end(), *tone).show(width, colour));
        }
    }
    out
}

/// The size of each column; `None` when the words of the rows are too wide.
fn fit(headings: &[&str], rows: &[Row], width: usize) -> Option<Vec<usize>> {
    let last = headings.len().checked_sub(1)?;
    let column = |i: usize| {
        let cells = rows.iter().map(move |(cells, _)| cells[i].as_str());
        cells.chain([headings[i]])
    };
    let widest = |i| column(i).map(columns).max().unwrap_or(0);
    let word = |i| {
        column(i)
            .flat_map(|cell| cell.split(' '))
            .map(columns)
            .max()
    };
    let least: Vec<usize> = (0..=last)
        .map(|i| match i == last {
            true => MIN_LAST_COLUMNS,
            false => word(i).unwrap_or(0),
        })
        .collect();
    let mut sizes: Vec<usize> = (0..=last).map(widest).collect();
    let room = width.checked_sub(2 + 2 * last)?;
    while sizes.iter().sum::<usize>() > room {
        let can_shrink = |i: &usize| sizes[*i] > least[*i];
        let i = (0..=last).filter(can_shrink).max_by_key(|i| sizes[*i])?;
        sizes[i] -= 1;
    }
    Some(sizes)
}

fn records(headings: &[&str], rows: &[Row], width: usize, colour: bool) -> Vec<String> {
    let mut out = Vec::new();
    for (cells, tone) in rows {
        for (i, (heading, cell)) in headings.iter().zip(cells).enumerate() {
            let text = if i == 0 {
                cell.clone()
            } else {
                format!("{heading}: {cell}")
            };
            let lines = wrap(&text, width, if i == 0 { "  " } else { "    " }, "      ");
            out.extend(
                lines
                    .iter()
                    .map(|l| StyledLine::with(l.clone(), *tone).show(width, colour)),
            );
        }
    }
    out
}

/// Cells side by side, five blanks between them, as many per line as fit; columns align when there
/// are several lines.
pub(super) fn grid(cells: &[(String, String)], width: usize) -> Vec<String> {
    for per_line in (1..=cells.len()).rev() {
        let widest = |c: usize, rendered: &dyn Fn(&(String, String)) -> usize| {
            cells
                .iter()
                .skip(c)
                .step_by(per_line)
                .map(rendered)
                .max()
                .unwrap_or(0)
        };
        let lines: Vec<String> = cells
            .chunks(per_line)
            .map(|chunk| {
                let cell = |(c, (name, value)): (usize, &(String, String))| {
                    let name = pad(name, widest(c, &|x| columns(&x.0)));
                    pad(
                        &format!("{name}  {value}"),
                        widest(c, &|x| columns(&x.0)) + 2 + widest(c, &|x| columns(&x.1)),
                    )
                };
                format!(
                    "  {}",
                    chunk
                        .iter()
                        .enumerate()
                        .map(cell)
                        .collect::<Vec<_>>()
                        .join("     ")
                        .trim_end()
                )
            })
            .collect();
        if lines.iter().all(|l| columns(l) <= width) {
            return lines;
        }
    }
    cells
        .iter()
        .flat_map(|(name, value)| wrap(&format!("{name} {value}"), width, "  ", "      "))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_the_last_column_and_falls_back_to_records() {
        let rows = [(
            vec![
                "zookeeper".into(),
                "m2".into(),
                "written through m1, read back from m2".into(),
            ],
            Tone::Normal,
        )];
        let rendered = |w| table(&["service", "leader", "proof"], &rows, w, false);
        assert_eq!(
            rendered(60),
            [
                "  service    leader  proof",
                "  zookeeper  m2      written through m1, read back from m2"
            ]
        );
        assert_eq!(
            rendered(40),
            [
                "  service    leader  proof",
                "  zookeeper  m2      written through m1,",
                "                     read back from m2"
            ]
        );
        assert_eq!(
            rendered(24),
            [
                "  zookeeper",
                "    leader: m2",
                "    proof: written",
                "      through m1, read",
                "      back from m2"
            ]
        );
    }

    #[test]
    fn the_widest_columns_wrap_first() {
        let cells = [
            "mesos",
            "2 of 3, 1 slave; 10.0.0.13 down",
            "registry recovered",
        ];
        let rows = [(cells.map(str::to_owned).into(), Tone::Normal)];
        assert_eq!(
            table(&["service", "members", "proof"], &rows, 52, false),
            [
                "  service  members                proof",
                "  mesos    2 of 3, 1 slave;       registry recovered",
                "           10.0.0.13 down"
            ]
        );
    }

    #[test]
    fn a_grid_takes_as_many_lines_as_it_must() {
        let cells: Vec<_> = [
            ("mesos", "http://1"),
            ("marathon", "http://22"),
            ("consul", "http://3"),
        ]
        .map(|(a, b)| (a.into(), b.into()))
        .into();
        assert_eq!(
            grid(&cells, 80),
            ["  mesos  http://1     marathon  http://22     consul  http://3"]
        );
        assert_eq!(
            grid(&cells, 50),
            [
                "  mesos   http://1     marathon  http://22",
                "  consul  http://3"
            ]
        );
        assert_eq!(grid(&cells, 9).len(), 6);
        assert!(grid(&[], 9).is_empty());
    }
}
