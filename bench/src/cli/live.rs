//! A block of text on a terminal that is replaced in place.

use rustix::termios::tcgetwinsize;

use super::Ui;

/// The block shown last, if any.
#[derive(Debug)]
pub struct Live {
    ui: Ui,
    shown: String,
}

impl Live {
    /// Nothing shown yet. To be used only where [`Ui::can_redraw`] says so.
    pub fn new(ui: Ui) -> Self {
        Self { ui, shown: String::new() }
    }

    /// Shows `text` instead of what was shown; does nothing if it is the same.
    pub fn redraw(&mut self, text: &str) -> anyhow::Result<()> {
        // A line that the terminal would wrap makes the block taller than it counts.
        let size = tcgetwinsize(std::io::stdout()).ok().filter(|s| s.ws_col > 0 && s.ws_row > 1);
        let (columns, rows) = size.map_or((80, 24), |s| (usize::from(s.ws_col), usize::from(s.ws_row)));
        let cut = |line: &str| line.chars().take(columns).collect::<String>() + "\n";
        let text: String = text.lines().take(rows - 1).map(cut).collect();
        if text != self.shown {
            self.ui.bytes(format!("{}{text}", self.erase()).as_bytes())?;
            self.shown = text;
        }
        Ok(())
    }

    /// Takes the block away, so that other things can be printed.
    pub fn clear(&mut self) -> anyhow::Result<()> {
        self.ui.bytes(self.erase().as_bytes())?;
        self.shown.clear();
        Ok(())
    }

    /// To the block's first line, and everything below it away.
    fn erase(&self) -> String {
        match self.shown.lines().count() {
            0 => String::new(),
            n => format!("\x1b[{n}A\x1b[J"),
        }
    }
}
