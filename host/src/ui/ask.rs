//! Questions to the person at the terminal.

use std::io::{IsTerminal as _, Read as _, Write as _};

use rustix::termios::{QueueSelector, tcflush};

use super::{Ui, shown};
use crate::error::{Context as _, Result};

/// Most bytes of an answer that are read.
const LONGEST: usize = 1024;

impl Ui {
    /// Returns whether there is someone to ask: who sees the question and gives the answer is at a terminal.
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks a question that is answered with `y` or `yes`; anything else means no, as does the end of the input.
    ///
    /// What was typed before the question was there is thrown away: it was no answer.
    ///
    /// # Errors
    /// If the terminal cannot be read.
    pub fn ask(&self, question: &str) -> Result<bool> {
        tcflush(std::io::stdin(), QueueSelector::IFlush).context("cannot drain the terminal")?;
        // Nobody is there to answer if standard error is gone.
        std::io::stderr().write_all(format!("{} [y/N] ", shown(question)).as_bytes()).context("cannot ask")?;
        let answer = line().context("cannot read the answer")?;
        if !answer.ends_with(b"\n") {
            self.line("");
        }
        let answer = String::from_utf8_lossy(&answer).trim().to_ascii_lowercase();
        Ok(matches!(answer.as_str(), "y" | "yes"))
    }
}

/// Reads one line byte by byte, so that nothing behind it is taken from the next reader.
fn line() -> std::io::Result<Vec<u8>> {
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LONGEST && !line.ends_with(b"\n") && input.read(&mut byte)? == 1 {
        line.push(byte[0]);
    }
    Ok(line)
}
