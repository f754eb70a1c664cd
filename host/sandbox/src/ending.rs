//! Explains how a program ended: the one place that turns an exit status or a signal into words.

use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;

use crate::error::Failure;
use crate::text::bytes;

/// Limits that the kernel enforces by a signal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Longest file in bytes; `None` for no limit.
    pub file: Option<u64>,
    /// Most processor time; `None` for no limit.
    pub time: Option<Duration>,
}

/// Describes an exit status in words that follow the program's name. `status` is 128 + the signal's number if a signal
/// ended it, as in a shell: <https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html#tag_18_08_02>.
pub fn describe(status: i32, bounds: Bounds) -> String {
    match status - 128 {
        libc::SIGXFSZ => match bounds.file {
            Some(most) => format!("was stopped at a file longer than the {} that one may have here", bytes(most)),
            None => "was stopped at a file longer than one may be here (`ulimit -f`)".to_owned(),
        },
        libc::SIGXCPU => match bounds.time {
            Some(most) => format!("computed longer than {} s and was stopped", most.as_secs()),
            None => "computed longer than it may (`ulimit -t`) and was stopped".to_owned(),
        },
        libc::SIGKILL => "was killed, most likely because the machine had no memory left".to_owned(),
        libc::SIGSYS => "asked the kernel for something that it may not, and was stopped".to_owned(),
        signal @ (libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGABRT | libc::SIGTRAP) => {
            format!("crashed ({})", name(signal))
        }
        signal if signal > 0 => format!("was ended by a signal ({})", name(signal)),
        // For a program that succeeded where it should have become something else.
        _ if status == 0 => "ended with status 0".to_owned(),
        _ => format!("failed with status {status}"),
    }
}

/// Makes the failure of `what`, a program or its step, which ended with `status`. Adds a next step where one is known.
pub fn failure(what: &str, status: i32, bounds: Bounds) -> Failure {
    let failure = Failure::build(format!("{what} {}", describe(status, bounds)));
    match next_step(status) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn next_step(status: i32) -> Option<&'static str> {
    Some(match status - 128 {
        libc::SIGXFSZ => {
            "a file that unpacks to so much may have been made to fill the disk: look at where it comes from"
        }
        libc::SIGKILL => "the kernel's log says whether memory ran out: sudo dmesg | grep -i 'out of memory'",
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGABRT | libc::SIGTRAP => {
            "what it read may be damaged, or made to break it: look at where that comes from, and update the program"
        }
        _ => return None,
    })
}

fn name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("number {signal}"), |signal| signal.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_told_by_its_cause() {
        let bounds = Bounds { file: Some(64 << 30), time: Some(Duration::from_secs(300)) };
        for (status, bounds, said) in [
            (0, bounds, "ended with status 0"),
            (3, bounds, "failed with status 3"),
            // `e2fsck` uses 128 for a shared library error: no signal.
            (128, bounds, "failed with status 128"),
            (153, bounds, "was stopped at a file longer than the 64 GiB that one may have here"),
            (153, Bounds::default(), "was stopped at a file longer than one may be here (`ulimit -f`)"),
            (152, bounds, "computed longer than 300 s and was stopped"),
            (137, bounds, "was killed, most likely because the machine had no memory left"),
            (159, bounds, "asked the kernel for something that it may not, and was stopped"),
            (139, bounds, "crashed (SIGSEGV)"),
            (143, bounds, "was ended by a signal (SIGTERM)"),
            (128 + 40, bounds, "was ended by a signal (number 40)"),
        ] {
            assert_eq!(describe(status, bounds), said, "{status}");
        }
    }

    #[test]
    fn what_can_be_done_is_said() {
        let hints = |status| crate::error::report(&failure("`x`", status, Bounds::default()).into()).hints;
        assert!(hints(153)[0].contains("fill the disk"));
        assert!(hints(137)[0].contains("dmesg"));
        assert!(hints(139)[0].contains("update"));
        assert!(hints(1).is_empty() && hints(143).is_empty());
    }
}
