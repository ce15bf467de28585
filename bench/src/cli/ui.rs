//! Manners at the terminal: data on stdout, everything else on stderr, colour and redrawing only where wanted.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::Fail;

/// How to talk to whoever started the program.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct Ui {
    /// JSON on stdout instead of text.
    pub json: bool,
    colour: bool,
    stdout_tty: bool,
    stderr_tty: bool,
}

/// Stdout's reader has gone.
#[derive(Debug)]
pub(crate) struct StdoutClosed;

impl fmt::Display for StdoutClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stdout is closed")
    }
}

impl std::error::Error for StdoutClosed {}

impl Ui {
    /// Looks at the terminal and at `NO_COLOR` and `TERM`.
    pub fn new(json: bool, no_color: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let able = std::env::var_os("TERM").is_none_or(|v| v != "dumb");
        Self {
            json,
            colour: !no_color && wanted && able,
            stdout_tty: io::stdout().is_terminal(),
            stderr_tty: io::stderr().is_terminal(),
        }
    }

    /// Whether stdout may be redrawn in place: a terminal, and not JSON.
    pub fn can_redraw(self) -> bool {
        self.stdout_tty && self.colour && !self.json
    }

    /// Whether progress bars may move on stderr.
    pub fn can_animate(self) -> bool {
        self.stderr_tty && self.colour
    }

    /// Whether stdout takes colour.
    pub fn colour_on_stdout(self) -> bool {
        self.stdout_tty && self.colour && !self.json
    }

    /// Whether stderr takes colour.
    pub fn colour_on_stderr(self) -> bool {
        self.stderr_tty && self.colour
    }

    /// Writes data to stdout as it is, and flushes.
    ///
    /// # Errors
    /// When stdout is closed; passed up to `main`, it ends the program quietly.
    pub fn bytes(self, data: &[u8]) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(data).and_then(|()| out.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
            other => Ok(other?),
        }
    }

    /// A line of data on stdout.
    pub fn line(self, text: impl fmt::Display) -> anyhow::Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// A value as one line of JSON on stdout.
    pub fn json_line(self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(serde_json::to_string(value)?)
    }

    /// A message on stderr.
    pub fn say(self, text: impl fmt::Display) {
        // Without a stderr there is nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Commands to go on with, on stderr: what each does, and the command. One that starts with `duet` is shown as it must
    /// be typed here.
    pub fn next(self, commands: &[(&str, String)]) {
        self.say("Next:");
        for (what, command) in commands {
            let command = command.strip_prefix("duet ").map_or(command.clone(), |rest| format!("{} {rest}", program()));
            self.say(format!("  {command}\n      {what}"));
        }
    }

    /// An error on stderr: its causes, and what to do next.
    pub fn error(self, e: &anyhow::Error) {
        let (red, plain) = if self.colour_on_stderr() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let mut text = format!("{red}error:{plain} {e}");
        for cause in e.chain().skip(1) {
            let cause = cause.to_string();
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        if let Some(hint) = e.chain().find_map(|c| c.downcast_ref::<Fail>()).and_then(Fail::next_step) {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        self.say(text);
    }
}

/// How this program was called: a path as it was typed (or as cargo typed it), otherwise its name.
fn program() -> String {
    let typed = std::env::args().next().filter(|a| a.contains('/') && !a.contains(char::is_whitespace));
    typed.unwrap_or_else(|| "duet".into())
}
