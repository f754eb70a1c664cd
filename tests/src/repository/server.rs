//! A server of http for a directory, on the loopback, that can misbehave.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The server's answer when asked for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Status 404.
    Missing,
    /// Status 503 so many times, then the file.
    BusyFor(u32),
    /// Nothing, with an open connection.
    Silence,
    /// The file, and zeros behind it for as long as anybody reads.
    Endless,
}

/// A server on a port of its own, for as long as the test runs. It serves any host's name, as a proxy is asked.
#[derive(Debug)]
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// End of a path → what happens there.
    answers: Mutex<Vec<(String, Answer)>>,
    asked: Mutex<Vec<String>>,
}

impl Server {
    /// # Panics
    /// If there is no port.
    pub fn new(directory: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let port = listener.local_addr().expect("it has an address").port();
        let shared =
            Arc::new(Shared { directory: directory.into(), answers: Mutex::default(), asked: Mutex::default() });
        let answering = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&answering);
                // A client may go away at any time: what cannot be sent to it does not matter.
                std::thread::spawn(move || shared.serve(&stream).ok());
            }
        });
        Self { port, shared }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Answers files whose path ends with `end` like that from now on.
    ///
    /// # Panics
    /// If the server has panicked.
    pub fn answer(&self, end: &str, answer: Answer) {
        self.shared.answers.lock().expect("the server has not panicked").push((end.into(), answer));
    }

    /// Returns what was asked for: paths, or whole addresses if it was asked as a proxy.
    ///
    /// # Panics
    /// If the server has panicked.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("the server has not panicked").clone()
    }
}

impl Shared {
    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let Some(target) = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)) else {
            return Ok(());
        };
        lines.for_each(drop);
        self.asked.lock().expect("no other thread has panicked").push(target.clone());
        let path = match target.split_once("://") {
            Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
            None => target.trim_start_matches('/'),
        };
        let planned = self.planned(path);
        let status = match planned {
            Some(Answer::Silence) => {
                std::thread::sleep(Duration::from_secs(600));
                return Ok(());
            }
            Some(Answer::BusyFor(_)) => Err("503 Service Unavailable"),
            Some(Answer::Missing) => Err("404 Not Found"),
            _ if path.split('/').any(|part| part == "..") => Err("403 Forbidden"),
            _ => std::fs::read(self.directory.join(unescaped(path))).map_err(|_| "404 Not Found"),
        };
        let (status, content) = status.map_or_else(|status| (status, Vec::new()), |content| ("200 OK", content));
        if planned == Some(Answer::Endless) {
            // In pieces, whose sum nobody is told.
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")?;
            stream.write_all(&[format!("{:x}\r\n", content.len()).as_bytes(), &content, b"\r\n"].concat())?;
            let piece = [b"10000\r\n", &[0; 1 << 16][..], b"\r\n"].concat();
            loop {
                stream.write_all(&piece)?;
            }
        }
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
        stream.write_all(&[head.as_bytes(), &content].concat())
    }

    /// Returns what is to happen instead of the file.
    fn planned(&self, path: &str) -> Option<Answer> {
        let mut answers = self.answers.lock().expect("no other thread has panicked");
        let (_, answer) = answers.iter_mut().find(|(end, _)| path.ends_with(end.as_str()))?;
        match answer {
            Answer::BusyFor(0) => None,
            Answer::BusyFor(times) => {
                *times -= 1;
                Some(*answer)
            }
            other => Some(*other),
        }
    }
}

/// Decodes a path's percent signs.
fn unescaped(path: &str) -> String {
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                text.push(byte.into());
                text += &part[2..];
            }
            None => {
                text.push('%');
                text += part;
            }
        }
    }
    text
}
