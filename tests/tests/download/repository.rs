//! A repository, and git's own server behind https, with faults as its paths say.

use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::server::{Authority, Request, Server, Validity};

/// The password that `/private` wants of `ann`.
pub(crate) const TOKEN: &str = "t0ken-of-ann-%+/";

/// A repository with its working directory.
pub(crate) struct Repository(tempfile::TempDir);

#[expect(clippy::disallowed_methods, reason = "the tests need what everybody's server runs")]
fn git() -> Command {
    let mut git = Command::new("git");
    // Nothing of the user's, and the same ids in every run.
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "ann").env(format!("GIT_{who}_EMAIL"), "ann@example.org");
        git.env(format!("GIT_{who}_DATE"), "1700000000 +0000");
    }
    git
}

/// Runs git with something to read, and returns what it writes.
fn finish(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.expect("the tests need git: sudo apt-get install git");
    // It ends early where it is asked for what it does not have.
    child.stdin.take().unwrap().write_all(input).ok();
    let output = child.wait_with_output().unwrap();
    let is_refusal = String::from_utf8_lossy(&output.stderr).contains("not our ref");
    assert!(output.status.success() || is_refusal, "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

impl Repository {
    pub(crate) fn new(format: &str) -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.run(&["init", "--quiet", &format!("--object-format={format}"), "."], b"");
        repository
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> String {
        let out = finish(git().current_dir(self.0.path()).args(arguments), input);
        String::from_utf8(out).unwrap().trim_end().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn commit(&self) -> String {
        self.run(&["add", "--all"], b"");
        self.run(&["commit", "--quiet", "--message", "work"], b"");
        self.run(&["rev-parse", "HEAD"], b"")
    }

    /// A commit with a tree that git itself would not make, of lines of mode, name and content.
    pub(crate) fn commit_of(&self, lines: &[(&str, &str, &str)]) -> String {
        let mut tree = Vec::new();
        for (mode, name, content) in lines {
            let id = match *mode {
                "160000" => "1".repeat(40),
                "40000" => self.run(&["mktree"], content.as_bytes()),
                _ => self.run(&["hash-object", "-w", "--stdin"], content.as_bytes()),
            };
            let bytes = (0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap());
            tree.extend([mode.as_bytes(), b" ", name.as_bytes(), b"\0"].concat());
            tree.extend(bytes);
        }
        let tree = self.run(&["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], &tree);
        self.run(&["commit-tree", "-m", "odd", &tree], b"")
    }

    /// One of usual sources.
    pub(crate) fn usual(format: &str) -> (Self, String, String) {
        let repository = Self::new(format);
        repository.write("README", "first\n");
        let first = repository.commit();
        repository.write("README", "second\n");
        repository.write("src/deep/main.c", "int main(void) { return 0; }\n");
        // Alike enough for git to tell one by the other.
        let long: String = (0..2000).map(|line| format!("line {line} of a long text\n")).collect();
        repository.write("long/one", &long);
        repository.write("long/two", &format!("another beginning\n{long}and another end\n"));
        repository.write("empty", "");
        repository.write(".gitattributes", "README export-ignore\n*.c text eol=crlf\n");
        repository.write("configure", "#!/bin/sh\n");
        let script = repository.0.path().join("configure");
        std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("../etc/passwd", repository.0.path().join("link")).unwrap();
        let second = repository.commit();
        (repository, first, second)
    }

    /// Where its files are.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn data(&self) -> PathBuf {
        self.0.path().join(".git")
    }
}

/// Serves the repository at any path that begins with one of its faults; `/private` wants a user and a password.
pub(crate) fn serve(repository: &Repository, other: &str) -> (Authority, Server) {
    let authority = Authority::new("the test's");
    let (data, other) = (Arc::new(repository.data()), other.to_owned());
    let server = Server::with(authority.certify("localhost", Validity::Now), move |stream, asking, _| {
        answer(stream, asking, &data, &other)
    });
    (authority, server)
}

fn answer(stream: &mut dyn Write, asking: &Request, data: &Path, other: &str) -> std::io::Result<()> {
    let mut status = |status: &str| write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    let Some(place) = asking.path.strip_suffix("/git-upload-pack") else { return status("404 Not Found") };
    let shown = asking.header("authorization").unwrap_or("nobody").to_owned();
    assert_eq!(asking.header("git-protocol"), Some("version=2"));
    let mut body = asking.body.clone();
    match place {
        "/ann/app.git" | "/damaged" => {}
        // `ann:t0ken-of-ann-%+/`, as `base64` writes it.
        "/private" if shown == "Basic YW5uOnQwa2VuLW9mLWFubi0lKy8=" => {}
        "/private" => return status("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\""),
        "/moved" => return status(&format!("301 Moved\r\nLocation: {other}/ann/app.git/git-upload-pack")),
        // Another commit than the one that was asked for.
        "/lies" => {
            let text = String::from_utf8(body).unwrap();
            let at = text.find("want ").unwrap() + 5;
            body = [&text[..at], other, &text[at + other.len()..]].concat().into_bytes();
        }
        "/page" => return write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"),
        "/tells" => {
            let said = format!("ERR {shown} {TOKEN}");
            let packet = format!("{:04x}{said}", said.len() + 4);
            return whole(stream, packet.as_bytes());
        }
        _ => return status("404 Not Found"),
    }
    let mut pack = git();
    pack.env("GIT_PROTOCOL", "version=2").args(["upload-pack", "--stateless-rpc"]).arg(data);
    let mut said = finish(&mut pack, &body);
    if place == "/damaged" {
        let middle = said.len() / 2;
        said[middle] ^= 0x55;
    }
    whole(stream, &said)
}

fn whole(stream: &mut dyn Write, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let kind = "application/x-git-upload-pack-result";
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n")?;
    stream.write_all(body)?;
    stream.flush()
}
