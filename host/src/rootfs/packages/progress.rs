//! Progress of packages: of downloads, and of dpkg by what it says.

use std::time::{Duration, Instant};

use crate::sandbox::command::Stream;
use crate::ui::{Step, bytes, count};

/// Time before which a rate says nothing.
const SOON: Duration = Duration::from_secs(1);

/// Shows how much of a download has come, and how fast.
#[derive(Debug)]
pub(super) struct Download<'a> {
    step: &'a Step,
    packages: usize,
    total: u64,
    started: Instant,
}

impl<'a> Download<'a> {
    /// Begins a download of so many packages, and bytes.
    pub(super) fn new(step: &'a Step, packages: usize, total: u64) -> Self {
        step.set_total(total);
        let download = Self { step, packages, total, started: Instant::now() };
        download.show(0);
        download
    }

    pub(super) fn show(&self, come: u64) {
        self.step.note(&self.note(come, self.started.elapsed()));
        self.step.set_position(come);
    }

    fn note(&self, come: u64, elapsed: Duration) -> String {
        let packages = count(self.packages, "package");
        let rate = u128::from(come) * 1000 / elapsed.as_millis().max(1);
        let rate =
            if elapsed < SOON { String::new() } else { format!(", {}/s", bytes(rate.try_into().unwrap_or(u64::MAX))) };
        format!("downloading {packages}, {} of {}{rate}", bytes(come), bytes(self.total))
    }
}

impl Drop for Download<'_> {
    fn drop(&mut self) {
        self.step.set_total(0);
    }
}

/// Counts the packages that dpkg unpacks and configures, and shows each.
#[derive(Debug)]
pub(in crate::rootfs) struct Progress<'a> {
    step: &'a Step,
    packages: usize,
    unpacked: usize,
    configured: usize,
}

impl<'a> Progress<'a> {
    /// Begins to count up to `packages`; 0 if their number is not known.
    pub(in crate::rootfs) fn new(step: &'a Step, packages: usize) -> Self {
        step.set_total(2 * packages as u64);
        Self { step, packages, unpacked: 0, configured: 0 }
    }

    /// Takes a line of dpkg's or apt's output.
    pub(in crate::rootfs) fn line(&mut self, stream: Stream, line: &str) {
        if stream == Stream::Stdout
            && let Some(note) = self.note(line)
        {
            self.step.note(&note);
            self.step.set_position((self.unpacked + self.configured) as u64);
        }
        self.step.detail(&format!("apt | {line}"));
    }

    /// Counts the package of a line, and describes what is done with it.
    fn note(&mut self, line: &str) -> Option<String> {
        let (verb, rest, count) = if let Some(rest) = line.strip_prefix("Unpacking ") {
            ("unpacking", rest, &mut self.unpacked)
        } else {
            ("configuring", line.strip_prefix("Setting up ")?, &mut self.configured)
        };
        *count += 1;
        let name = rest.split([' ', ':']).next().unwrap_or_default();
        Some(match self.packages {
            0 => format!("{verb} {name}"),
            packages => format!("{verb} {name} ({count} of {packages})"),
        })
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.step.set_total(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::{Ui, Verbosity};

    #[test]
    fn a_download_has_a_rate() {
        let step = Ui::new(Verbosity::Quiet).step("test");
        let download = Download::new(&step, 3, 10 << 20);
        for (come, milliseconds, expected) in [
            (0, 0, "downloading 3 packages, 0 B of 10 MiB"),
            (5 << 20, 2000, "downloading 3 packages, 5 MiB of 10 MiB, 2.5 MiB/s"),
        ] {
            assert_eq!(download.note(come, Duration::from_millis(milliseconds)), expected);
        }
    }

    #[test]
    fn packages_are_counted() {
        let step = Ui::new(Verbosity::Quiet).step("test");
        let mut progress = Progress::new(&step, 2);
        for (line, expected) in [
            ("Unpacking libc6:arm64 (2.36-9+deb12u10) ...", Some("unpacking libc6 (1 of 2)")),
            ("Unpacking bash (5.2) over (5.1) ...", Some("unpacking bash (2 of 2)")),
            ("Preparing to unpack .../bash.deb ...", None),
            ("Setting up libc6:arm64 (2.36-9+deb12u10) ...", Some("configuring libc6 (1 of 2)")),
        ] {
            assert_eq!(progress.note(line).as_deref(), expected, "{line}");
        }
    }
}
