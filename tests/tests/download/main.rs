//! Downloads and checkouts from a server of https, from the plugin's call to the message that it gets. The server is real, on this
//! machine's loopback, and its authority is the test's own; so are its faults.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

mod checkout;
mod repository;
mod server;

use std::collections::BTreeMap;
use std::io::Seek as _;
use std::path::Path;
use std::time::Duration;

use piimg::download::{Authorities, Limits};
use piimg::plugin::InspectedPlugin;
use piimg::plugin::audit_log::Transcript;
use piimg::plugin::grant::{GrantSet, Granted};
use piimg::plugin::info::Request;
use piimg::plugin::protocol::{Call, Reply};
use piimg::plugin::run::Run;
use piimg::plugin::workbench::{CallError, ErrorCode};
use piimg::plugin::{Limits as GuestLimits, Session};
use piimg::secret::Secret;
use piimg_tests::directory::{Directory, image, image_info};
use server::{Authority, CONTENT, DIGEST, Server};

/// A server cannot make a test wait, nor fill its disk.
const LIMITS: Limits = Limits { size: 4096, connect: Duration::from_secs(20), total: Duration::from_secs(20) };

/// A plugin that may download from what `granted` says, on a machine that trusts those authorities.
struct Machine {
    authorities: Authorities,
    limits: Limits,
    granted: Vec<String>,
}

/// The answer to a plugin's calls, and the audit log of them.
struct Asked {
    reply: Reply,
    audit: String,
}

impl Machine {
    /// Where the authority is trusted, and all of the server is granted.
    fn of(authority: &Authority, server: &Server) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.pem()).unwrap();
        let authorities = Authorities::of_file(file.path()).unwrap();
        Self { authorities, limits: LIMITS, granted: vec![format!("net:{}/**", server.origin())] }
    }

    /// What the plugin downloads: its content.
    fn fetch(&self, url: &str, digest: &str) -> Result<String, CallError> {
        let root = image();
        let asked = self.ask(root.path(), &[], |session| {
            match session.serve(Call::Fetch { url: url.into(), digest: digest.into() }) {
                Reply::Blob(blob) => session.serve(Call::BlobRead { blob, offset: 0, length: 4096 }),
                other => other,
            }
        });
        match asked.reply {
            Reply::Bytes(bytes) => Ok(String::from_utf8(bytes).unwrap()),
            Reply::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// What comes of the plugin's calls, in an image at `root`.
    fn ask(&self, root: &Path, secrets: &[Secret], calls: impl FnOnce(&mut Session<'_>) -> Reply) -> Asked {
        let mut info = InspectedPlugin::default();
        info.conf.id = "test/net".into();
        let request = |scope: &String| Request {
            scope: scope.as_str().into(),
            reason: String::new(),
            optional: false,
            listed: false,
        };
        info.requests = self.granted.iter().map(request).collect();
        let granted = Granted { requested: true, ..Granted::default() };
        let grants = GrantSet::new(&info, &BTreeMap::new(), &granted).unwrap();
        let (params, assets) = (BTreeMap::new(), BTreeMap::new());
        let run = Run {
            plugin: &info,
            grants: &grants,
            image: image_info(),
            params,
            assets,
            secrets: secrets.iter().map(|secret| (secret.name(), secret)).collect(),
            limits: GuestLimits::EXECUTE,
        };
        let mut bench = Directory::online(root, self.authorities.clone(), self.limits);
        let mut sink = |_: &str, _, _: &str| {};
        let mut log = tempfile::tempfile().unwrap();
        let mut transcript = Transcript::new(vec![log.try_clone().unwrap()]);
        let reply = calls(&mut Session::new(&run, &mut bench, &mut sink, Some(&mut transcript)));
        log.rewind().unwrap();
        Asked { reply, audit: std::io::read_to_string(log).unwrap() }
    }

    /// Asks for a path, which must be refused for that reason.
    #[track_caller]
    fn refuses(&self, url: &str, code: ErrorCode, cause: &str) {
        let error = self.fetch(url, DIGEST).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(cause), "{url}: {error}");
    }
}

#[test]
fn content_comes_from_a_server_that_the_authority_vouches_for() {
    let (authority, server) = Server::usual();
    let machine = Machine::of(&authority, &server);
    assert_eq!(machine.fetch(&server.url("/good"), DIGEST), Ok(CONTENT.to_owned()));
    // By pieces without a length, and by another path of the same server.
    assert_eq!(machine.fetch(&server.url("/chunked"), DIGEST), Ok(CONTENT.to_owned()));
    assert_eq!(machine.fetch(&server.url("/moved"), DIGEST), Ok(CONTENT.to_owned()));
    assert_eq!(server.asked(), ["/good", "/chunked", "/moved", "/good"]);
}

#[test]
fn content_must_have_the_digest_that_was_named() {
    let (authority, server) = Server::usual();
    let machine = Machine::of(&authority, &server);
    let error = machine.fetch(&server.url("/other"), DIGEST).unwrap_err();
    assert_eq!(error.code, ErrorCode::DigestMismatch);
    assert!(error.message.contains("/other` has the digest sha256:"), "{error}");
    assert!(error.message.ends_with(&format!("not {DIGEST}")), "{error}");
}

#[test]
fn a_server_that_nobody_vouches_for_is_asked_nothing() {
    let authority = Authority::new("the test's");
    let stranger = Authority::new("nobody's");
    let unknown = Server::start(stranger.certify("localhost", server::Validity::Now));
    let elsewhere = Server::start(authority.certify("files.example.org", server::Validity::Now));
    let expired = Server::start(authority.certify("localhost", server::Validity::Past));
    let early = Server::start(authority.certify("localhost", server::Validity::Future));
    for (server, cause) in [
        (&unknown, "no authority that this machine trusts vouches for the server"),
        (&elsewhere, "the server's certificate is for another host"),
        (&expired, "the server's certificate has expired"),
        (&early, "the server's certificate is not valid yet"),
    ] {
        Machine::of(&authority, server).refuses(&server.url("/good"), ErrorCode::Network, cause);
        assert_eq!(server.asked(), [""; 0], "{cause}");
    }
    // And one that has none at all.
    let (_, server) = Server::usual();
    let machine = Machine { authorities: Authorities::default(), ..Machine::of(&authority, &server) };
    machine.refuses(&server.url("/good"), ErrorCode::Network, "no authority that this machine trusts");
}

#[test]
fn a_redirection_leads_only_where_the_plugin_may_go() {
    let (authority, server) = Server::usual();
    let other = Server::start(authority.certify("localhost", server::Validity::Now));
    let mut machine = Machine::of(&authority, &server);
    let away = server.url(&format!("/to?{}", other.url("/good")));
    let error = machine.fetch(&away, DIGEST).unwrap_err();
    assert_eq!((error.code, error.needed), (ErrorCode::Denied, Some(format!("net:{}", other.url("/good")))));
    assert_eq!(other.asked(), [""; 0], "who was not granted is not asked");
    machine.granted.push(format!("net:{}/**", other.origin()));
    assert_eq!(machine.fetch(&away, DIGEST), Ok(CONTENT.to_owned()));
    let plain = server.url(&format!("/to?{}", server.url("/good").replace("https", "http")));
    machine.refuses(&plain, ErrorCode::Invalid, "it leads from https to http");
    let odd = server.url("/to?file:///etc/passwd");
    machine.refuses(&odd, ErrorCode::Invalid, "it leads to an address that is refused");
    machine.refuses(&server.url("/round"), ErrorCode::Network, "is the end of more than 5 redirections");
    machine.refuses(&server.url("/nowhere"), ErrorCode::Network, "leads nowhere");
}

#[test]
fn what_is_not_whole_is_nothing() {
    let (authority, server) = Server::usual();
    let machine = Machine::of(&authority, &server);
    for (path, cause) in [
        ("/missing", "the server answered with status 404"),
        ("/broken", "the server answered with status 500"),
        ("/part", "the server answered with status 206"),
        ("/big", "it has more than 4 KiB"),
        ("/endless", "it has more than 4 KiB"),
        ("/short", "cannot download `https://localhost"),
        ("/nonsense", "cannot download `https://localhost"),
    ] {
        machine.refuses(&server.url(path), ErrorCode::Network, cause);
    }
    // Without a length, nobody but the digest says that the end is the end.
    machine.refuses(&server.url("/cut"), ErrorCode::DigestMismatch, "/cut` has the digest sha256:");
}

#[test]
fn a_slow_server_is_not_waited_for() {
    let (authority, server) = Server::usual();
    let limits = Limits { total: Duration::from_millis(300), ..LIMITS };
    let machine = Machine { limits, ..Machine::of(&authority, &server) };
    machine.refuses(&server.url("/slow"), ErrorCode::Network, "timeout");
    machine.refuses(&server.url("/silent"), ErrorCode::Network, "timeout");
}

/// The variable is the process's own: the test starts itself with it.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test starts itself, not a program of the host")]
fn a_variable_names_the_authorities() {
    const NAME: &str = "a_variable_names_the_authorities";
    const CHILD: &str = "PIIMG_TEST_AUTHORITIES";
    if std::env::var_os(CHILD).is_some() {
        assert_eq!(Authorities::of_host().unwrap().count(), 1);
        return;
    }
    let start = |file: &std::path::Path| {
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", NAME, "--nocapture"]).env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR");
        let output = program.env(CHILD, "1").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("company.pem");
    std::fs::write(&file, Authority::new("the company's").pem()).unwrap();
    let (fine, stderr) = start(&file);
    assert!(fine, "{stderr}");
    let (fine, stderr) = start(&dir.path().join("none.pem"));
    assert!(!fine && stderr.contains("has no certificates of authorities"), "{stderr}");
}
