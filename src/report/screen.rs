//! The only code that moves the cursor of a terminal: draws frames in place and prints lines above
//! them.

use std::io::Write;

use super::text::width as columns;

/// A frame that is redrawn in place.
pub struct Screen {
    out: Box<dyn Write + Send>,
    /// Columns of each row of the frame on the terminal.
    rows: Vec<usize>,
    last: String,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen")
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

impl Screen {
    /// Draws on this terminal.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            rows: Vec::new(),
            last: String::new(),
        }
    }

    /// Replaces the frame, after permanent lines above it. An unchanged frame is not drawn again.
    /// `width`: the current columns of the terminal; the previous frame may have been drawn wider,
    /// and has then wrapped.
    pub fn draw(&mut self, above: &[String], frame: &str, plain_frame: &str, width: usize) {
        if above.is_empty() && frame == self.last {
            return;
        }
        let mut text = self.erase(width);
        for line in above {
            text.push_str(line);
            text.push_str("\r\n");
        }
        // Without wrapping, a character whose width the terminal sees differently cannot add a row.
        text.push_str("\x1b[?7l");
        for line in frame.lines() {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str("\x1b[?7h");
        self.rows = plain_frame.lines().map(columns).collect();
        frame.clone_into(&mut self.last);
        self.write(&text);
    }

    /// Removes the frame.
    pub fn clear(&mut self, width: usize) {
        let text = self.erase(width);
        self.write(&text);
    }

    /// Keeps the frame for good, with an empty line below.
    pub fn leave(&mut self) {
        self.rows.clear();
        self.last.clear();
        self.write("\r\n");
    }

    fn erase(&mut self, width: usize) -> String {
        let rows: usize = self
            .rows
            .iter()
            .map(|r| r.div_ceil(width.max(1)).max(1))
            .sum();
        self.rows.clear();
        self.last.clear();
        if rows == 0 {
            String::new()
        } else {
            format!("\x1b[{rows}A\r\x1b[J")
        }
    }

    /// Writes one frame at once, so that nothing half is seen. A terminal that went away does not
    /// stop a run.
    fn write(&mut self, text: &str) {
        if !text.is_empty() {
            let _ = self
                .out
                .write_all(text.as_bytes())
                .and_then(|()| self.out.flush());
        }
    }
}
