//! Collects the output of a serial line in a thread, and lets the caller search it.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::OnLine;

/// Most bytes kept for searches and errors.
const LONGEST: usize = 8 << 20;

/// Longest line that is passed on in one piece.
const LONGEST_LINE: usize = 4096;

/// Result of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The text up to and including what was looked for.
    Text(String),
    Timeout,
    /// The line is closed.
    End,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    /// Up to here searches have read.
    cursor: usize,
    ended: bool,
}

/// The receiving end of a serial line.
#[derive(Clone, Debug, Default)]
pub(super) struct Console(Arc<(Mutex<State>, Condvar)>);

impl Console {
    /// Reads `input` to its end on the calling thread.
    pub(super) fn pump(&self, mut input: impl Read, mut on_line: OnLine) {
        let mut cleaner = Cleaner::default();
        let mut line = String::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = input.read(&mut buffer) {
            let text = cleaner.clean(&buffer[..count]);
            for part in text.split_inclusive('\n') {
                line.push_str(part);
                if line.ends_with('\n') || line.len() > LONGEST_LINE {
                    on_line(line.trim_end());
                    line.clear();
                }
            }
            self.change(|state| state.add(&text));
        }
        if !line.is_empty() {
            on_line(&line);
        }
        self.change(|state| state.ended = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until one of `patterns` comes after what was found last, and moves behind it.
    pub(super) fn wait_for(&self, patterns: &[&str], timeout: Duration) -> Found {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            let rest = &state.text[state.cursor..];
            let first = patterns.iter().filter_map(|pattern| rest.find(pattern).map(|at| at + pattern.len())).min();
            if let Some(end) = first {
                let text = rest[..end].to_owned();
                state.cursor += end;
                return Found::Text(text);
            }
            if state.ended {
                return Found::End;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Found::Timeout;
            }
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Returns the last `count` lines.
    pub(super) fn tail(&self, count: usize) -> String {
        let state = self.lock();
        let lines: Vec<&str> = state.text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl State {
    fn add(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() > 2 * LONGEST {
            let mut cut = self.text.len() - LONGEST;
            while !self.text.is_char_boundary(cut) {
                cut += 1;
            }
            self.text.drain(..cut);
            self.cursor = self.cursor.saturating_sub(cut);
        }
    }
}

/// Takes carriage returns and the escape sequences of terminals out of a stream.
#[derive(Debug, Default)]
struct Cleaner {
    escape: Escape,
    /// The beginning of a character whose end has not come yet.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Start,
    /// After `ESC [`.
    Control,
    /// After `ESC ]`, up to BEL or `ESC \`.
    Title,
}

impl Cleaner {
    fn clean(&mut self, bytes: &[u8]) -> String {
        let mut kept = std::mem::take(&mut self.partial);
        for byte in bytes {
            self.escape = match (self.escape, byte) {
                (Escape::None | Escape::Title, 0x1b) => Escape::Start,
                (Escape::None, b'\r' | 0) => Escape::None,
                (Escape::None, byte) => {
                    kept.push(*byte);
                    Escape::None
                }
                (Escape::Start, b'[') => Escape::Control,
                (Escape::Start, b']') => Escape::Title,
                (Escape::Title, 0x07) | (Escape::Control, 0x40..=0x7e) | (Escape::Start, _) => Escape::None,
                (state, _) => state,
            };
        }
        if let Err(error) = std::str::from_utf8(&kept)
            && error.error_len().is_none()
        {
            self.partial = kept.split_off(error.valid_up_to());
        }
        String::from_utf8_lossy(&kept).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cleaned_across_pieces() {
        let mut cleaner = Cleaner::default();
        let pieces: [&[u8]; 5] =
            [b"a\r\n\x1b[", b"1;31mred\x1b[0m \xc3", b"\xa4\x1b]0;title\x07!", b"\x1bM?", b"\xff."];
        let text: String = pieces.iter().map(|piece| cleaner.clean(piece)).collect();
        assert_eq!(text, "a\nred ä!?\u{fffd}.");
    }

    #[test]
    fn searches_go_on_behind_what_was_found() {
        let console = Console::default();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        console.pump(
            &b"one\nlogin: two login: rest"[..],
            Box::new(move |line| seen.lock().unwrap().push(line.to_owned())),
        );
        let wait = |pattern| console.wait_for(&[pattern, "never"], Duration::from_secs(1));
        assert_eq!(wait("login: "), Found::Text("one\nlogin: ".to_owned()));
        assert_eq!(wait("login: "), Found::Text("two login: ".to_owned()));
        assert_eq!(wait("login: "), Found::End);
        assert_eq!(*lines.lock().unwrap(), ["one", "login: two login: rest"]);
        assert_eq!(console.tail(1), "login: two login: rest");
    }

    #[test]
    fn a_search_gives_up() {
        assert_eq!(Console::default().wait_for(&["x"], Duration::from_millis(10)), Found::Timeout);
    }
}
