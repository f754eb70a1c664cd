//! Downloads that are tried again, if what went wrong may pass by itself: a connection that broke, a server that is busy.

use std::fs::File;
use std::io::{ErrorKind, Seek as _};
use std::time::Duration;

use super::{Answer, Authorities, BadStatus, Limits, Url, get};
use crate::error::{Context, Failure, Result};
use crate::secret::Authorization;

/// Downloads as [`get`] does, and tries again after each of `pauses`; `pause` does the waiting.
///
/// # Errors
/// That of the last try, with the number of tries if there were several.
pub fn get_patiently(
    url: &Url,
    authorization: Option<&Authorization>,
    file: &mut File,
    authorities: &Authorities,
    limits: Limits,
    mut pauses: impl Iterator<Item = Duration>,
    pause: &mut dyn FnMut(Duration),
) -> Result<Answer> {
    for tries in 1.. {
        let error = match get(url, authorization, file, authorities, limits) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let Some(wait) = pauses.next().filter(|_| may_pass(&error)) else {
            let told = || Failure::build(format!("cannot download `{url}` in {tries} tries"));
            return if tries == 1 { Err(error) } else { Err(error).with_context(told) };
        };
        pause(wait);
        file.set_len(0).and_then(|()| file.rewind()).context("cannot write a download")?;
    }
    unreachable!("there are fewer tries than numbers")
}

/// Returns whether the same request may succeed in a moment.
fn may_pass(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        if let Some(BadStatus(status)) = cause.downcast_ref() {
            return matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
        }
        match cause.downcast_ref() {
            Some(ureq::Error::Io(error)) => broke(error.kind()),
            Some(ureq::Error::ConnectionFailed | ureq::Error::HostNotFound) => true,
            // A time-out is the limit of the whole download: trying again would double it.
            Some(_) => false,
            None => cause.downcast_ref::<std::io::Error>().is_some_and(|error| broke(error.kind())),
        }
    })
}

const fn broke(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Serves `answers`, one a connection, and returns what came of the download and the pauses in seconds.
    fn fetch(answers: Vec<&'static str>, retries: usize) -> (Result<Answer>, Vec<u64>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/a", listener.local_addr().unwrap())).unwrap();
        let server = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(std::io::Result::unwrap);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let (mut file, mut pauses) = (tempfile::tempfile().unwrap(), Vec::new());
        let mut pause = |wait: Duration| pauses.push(wait.as_secs());
        let waits = [1, 2, 4].map(Duration::from_secs).into_iter().take(retries);
        let result = get_patiently(&url, None, &mut file, &Authorities::default(), Limits::USUAL, waits, &mut pause);
        server.join().unwrap();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        (result, pauses, text)
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhello, half a file";
    const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const MISSING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    #[test]
    fn what_passes_is_waited_for_longer_and_longer() {
        let (result, pauses, text) = fetch(vec![BUSY, HALF, BUSY, GOOD], 3);
        assert!(matches!(result.unwrap(), Answer::Content(_)));
        assert_eq!((pauses, text.as_str()), (vec![1, 2, 4], "hello"), "nothing of the half file is left");
    }

    #[test]
    fn the_end_of_patience_is_told() {
        let (result, pauses, _) = fetch(vec![BUSY, BUSY, BUSY], 2);
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains("in 3 tries") && error.contains("status 503"), "{error}");
        assert_eq!(pauses, [1, 2]);
    }

    #[test]
    fn what_stays_wrong_is_not_tried_again() {
        for answer in [MISSING, "nonsense\r\n\r\n"] {
            let (result, pauses, _) = fetch(vec![answer], 3);
            let error = format!("{:#}", result.unwrap_err());
            assert!(error.contains("cannot download") && !error.contains("tries"), "{error}");
            assert_eq!(pauses, [0; 0]);
        }
        let (result, pauses, _) = fetch(vec![BUSY], 0);
        assert!(result.is_err() && pauses.is_empty());
    }
}
