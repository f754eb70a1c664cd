//! Implements `log`: messages and printed lines. Needs no capability; the text is untrusted and limited in amount.

use super::Session;
use crate::plugin::protocol::{Level, Reply};
use crate::ui::printable;

/// Longest line shown, in characters.
const MAX_LINE: usize = 2000;
/// Most lines of one run.
const MAX_LINES: u32 = 100_000;

/// Counts the lines of a run.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Budget {
    lines: u32,
}

impl Session<'_> {
    pub(super) fn log(&mut self, level: Level, message: &str) -> Reply {
        for line in message.lines() {
            self.line(level, line);
        }
        Reply::Done
    }

    pub(super) fn printed(&mut self, error: bool, line: &str) -> Reply {
        self.line(if error { Level::Warn } else { Level::Info }, line);
        Reply::Done
    }

    pub(super) fn panicked(&mut self, message: &str, location: &str) -> Reply {
        self.record.panic = Some((cut(message), cut(location)));
        Reply::Done
    }

    fn line(&mut self, level: Level, line: &str) {
        self.logged.lines = self.logged.lines.saturating_add(1);
        let id = printable(self.id);
        if self.logged.lines <= MAX_LINES {
            (self.sink)(&id, level, &cut(line));
        } else if self.logged.lines == MAX_LINES + 1 {
            (self.sink)(&id, Level::Warn, &format!("more than {MAX_LINES} lines; the rest is not shown"));
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_hostile_lines_are_tamed() {
        assert_eq!(cut("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(cut(&"ü".repeat(3000)).chars().count(), MAX_LINE + 1);
    }
}
