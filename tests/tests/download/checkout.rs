//! Checkouts: what becomes of a commit, and what of everything else that a server may send.

use std::os::unix::fs::MetadataExt as _;

use piimg::plugin::protocol::Checkout;

use super::repository::{Repository, TOKEN, serve};
use super::*;

/// A place to check out into, and what is asked.
struct Try {
    machine: Machine,
    root: tempfile::TempDir,
}

impl Try {
    /// With all that a checkout of that server needs.
    fn of(authority: &Authority, server: &Server) -> Self {
        let mut machine = Machine { limits: Limits::USUAL, ..Machine::of(authority, server) };
        machine.granted.extend(["fs:write:/opt/app/**", "secret:token"].map(str::to_owned));
        Self { machine, root: image() }
    }

    fn checkout(&self, url: &str, commit: &str, owner: Option<(&str, &str)>) -> Result<u64, CallError> {
        self.ask(url, commit, owner, None).0
    }

    /// Also with the secret, as the password of that user; and the audit log.
    fn ask(
        &self,
        url: &str,
        commit: &str,
        owner: Option<(&str, &str)>,
        user: Option<&str>,
    ) -> (Result<u64, CallError>, String) {
        let owner = owner.map(|(user, group)| (user.to_owned(), group.to_owned()));
        let checkout = Checkout { url: url.into(), commit: commit.into(), path: "/opt/app".into(), owner };
        let call = match user {
            None => Call::Checkout { checkout },
            Some(user) => Call::CheckoutAuthorized { checkout, user: user.into(), secret: "token".into() },
        };
        let secret = Secret::new("token", TOKEN.as_bytes().to_vec().into()).unwrap();
        let asked = self.machine.ask(self.root.path(), &[secret], |session| session.serve(call));
        let result = match asked.reply {
            Reply::Count(count) => Ok(count),
            Reply::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        };
        (result, asked.audit)
    }

    #[track_caller]
    fn refuses(&self, url: &str, commit: &str, code: ErrorCode, cause: &str) {
        let error = self.checkout(url, commit, None).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(cause), "{error}");
        assert!(!self.root.path().join("opt/app").exists(), "{cause}: something was written");
    }
}

#[test]
fn a_commit_becomes_a_directory() {
    for format in ["sha1", "sha256"] {
        let (repository, first, second) = Repository::usual(format);
        let (authority, server) = serve(&repository, "");
        let url = server.url("/ann/app.git");
        let this = Try::of(&authority, &server);
        assert_eq!(this.checkout(&url, &second, None), Ok(8), "{format}");
        let app = this.root.path().join("opt/app");
        for name in ["README", "src/deep/main.c", "long/one", "long/two", "empty", ".gitattributes", "configure"] {
            let (ours, theirs) = (app.join(name), repository.path().join(name));
            assert_eq!(std::fs::read(&ours).unwrap(), std::fs::read(theirs).unwrap(), "{name}");
            let metadata = std::fs::metadata(ours).unwrap();
            let mode = if name == "configure" { 0o755 } else { 0o644 };
            assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (mode, 1_700_000_000), "{name}");
        }
        assert_eq!(std::fs::read_link(app.join("link")).unwrap(), Path::new("../etc/passwd"));
        assert!(!app.join(".git").exists());
        assert_eq!(server.asked(), ["/ann/app.git/git-upload-pack"]);
        // An older one, which no branch leads to, into a directory that is there, and somebody's.
        let this = Try::of(&authority, &server);
        repository.run(&["update-ref", "-d", "refs/heads/master"], b"");
        repository.run(&["update-ref", "-d", "refs/heads/main"], b"");
        std::fs::create_dir(this.root.path().join("opt/app")).unwrap();
        let owner = std::fs::metadata(this.root.path()).unwrap();
        let (uid, gid) = (owner.uid().to_string(), owner.gid().to_string());
        assert_eq!(this.checkout(&url, &first, Some((&uid, &gid))), Ok(1));
        assert_eq!(std::fs::read_to_string(this.root.path().join("opt/app/README")).unwrap(), "first\n");
        // Now something is in it.
        let error = this.checkout(&url, &second, None).unwrap_err();
        assert_eq!(error.code, ErrorCode::Exists);
        assert_eq!(error.message, "`/opt/app` is there already, and is no empty directory");
        assert_eq!(
            this.checkout(&url, &second, Some(("bob", "root"))).unwrap_err().message,
            "the image has no user `bob`"
        );
    }
}

#[test]
fn each_need_is_asked_for() {
    let (repository, _, commit) = Repository::usual("sha1");
    let (authority, server) = serve(&repository, "");
    let url = server.url("/ann/app.git");
    let net = format!("net:{url}/**");
    for (granted, needed) in [
        (vec!["fs:write:/opt/app/**", "secret:token"], net.as_str()),
        (vec!["fs:write:/opt/app/**", "secret:token", &net[..net.len() - 3]], &net),
        (vec![&net, "secret:token"], "fs:write:/opt/app/**"),
        (vec![&net, "secret:token", "fs:write:/opt/app/*"], "fs:write:/opt/app/**"),
        (vec![&net, "fs:write:/opt/app/**"], "secret:token"),
    ] {
        let mut this = Try::of(&authority, &server);
        this.machine.granted = granted.into_iter().map(str::to_owned).collect();
        let (result, audit) = this.ask(&url, &commit, None, Some("ann"));
        let error = result.unwrap_err();
        assert_eq!((error.code, error.needed.as_deref()), (ErrorCode::Denied, Some(needed)), "{error}");
        assert!(audit.contains(&format!("{needed}\",\"allowed\":false")), "{audit}");
    }
    // A link of the image's does not lead around the gate.
    let this = Try::of(&authority, &server);
    std::os::unix::fs::symlink("/etc", this.root.path().join("opt/app")).unwrap();
    let error = this.checkout(&url, &commit, None).unwrap_err();
    assert_eq!(
        (error.code, error.message.contains("`/opt/app` is there already")),
        (ErrorCode::Exists, true),
        "{error}"
    );
    assert_eq!(server.asked(), [""; 0], "the gate comes first");
}

#[test]
fn a_secret_proves_who_asks_and_is_nowhere_else() {
    let (repository, _, commit) = Repository::usual("sha1");
    let (authority, server) = serve(&repository, "");
    let url = server.url("/private");
    let this = Try::of(&authority, &server);
    this.refuses(&url, &commit, ErrorCode::Network, "status 401: it wants a user and a password, or other ones");
    let (result, _) = this.ask(&url, &commit, None, Some("bob"));
    assert!(result.unwrap_err().message.contains("status 401"));
    let (result, audit) = this.ask(&url, &commit, None, Some("ann"));
    assert_eq!(result, Ok(8));
    assert!(audit.contains("git.checkout-authorized") && audit.contains(&commit), "{audit}");
    assert!(audit.contains("secret:token"), "{audit}");
    let (said, told) = Try::of(&authority, &server).ask(&server.url("/tells"), &commit, None, Some("ann"));
    let error = said.unwrap_err();
    assert!(error.message.ends_with("/tells`: the server refuses"), "{error}");
    // Without a secret, what a server says helps.
    let open = Try::of(&authority, &server).checkout(&server.url("/tells"), &commit, None).unwrap_err();
    assert!(open.message.contains("the server refuses: `nobody "), "{open}");
    for log in [&audit, &told] {
        for value in [TOKEN, "YW5uOnQwa2VuLW9mLWFubi0lKy8=", "t0ken-of-ann"] {
            assert!(!log.contains(value), "{value} is in {log}");
        }
    }
    let secret = Secret::new("token", TOKEN.as_bytes().to_vec().into()).unwrap();
    assert_eq!(piimg::secret::leak::Search::new([&secret]).find(this.root.path()).unwrap(), None);
    let (result, _) = this.ask(&url, &commit, None, Some("ann:x"));
    assert!(result.unwrap_err().message.contains("`ann:x` is no name of a user"));
}

#[test]
fn a_server_gives_the_commit_or_nothing() {
    let (repository, first, commit) = Repository::usual("sha1");
    let (authority, elsewhere) = serve(&repository, "");
    let (_, stranger) = serve(&repository, "");
    let this = Try::of(&authority, &elsewhere);
    let url = elsewhere.url("/ann/app.git");
    let nothing = "0123456789".repeat(4);
    let none = format!("the repository has no commit {nothing}");
    this.refuses(&url, &nothing, ErrorCode::NotFound, &none);
    this.refuses(&elsewhere.url("/none"), &commit, ErrorCode::Network, "the server answered with status 404");
    this.refuses(&elsewhere.url("/page"), &commit, ErrorCode::Network, "something else than git does");
    this.refuses(&elsewhere.url("/damaged"), &commit, ErrorCode::DigestMismatch, "cannot check out");
    this.refuses(&url, "main", ErrorCode::Invalid, "`main` is no commit: name it by all of its");
    this.refuses(&url, &commit[..12], ErrorCode::Invalid, "is no commit");
    this.refuses(&url.replace("https", "http"), &commit, ErrorCode::Invalid, "must begin with `https://`");
    // The tree of the commit has an id, too, and is none.
    let tree = repository.run(&["rev-parse", &format!("{commit}^{{tree}}")], b"");
    let error = this.checkout(&url, &tree, None).unwrap_err();
    assert!(!this.root.path().join("opt/app").exists(), "{error}");
    let mut small = Try::of(&authority, &elsewhere);
    small.machine.limits = LIMITS;
    small.refuses(&url, &commit, ErrorCode::Limit, "the commit takes more than 4 KiB");
    // One commit in the place of another, and a way to somebody else's server.
    let (authority, lying) = serve(&repository, &first);
    let this = Try::of(&authority, &lying);
    let missing = format!("what came does not hold the commit {commit}");
    this.refuses(&lying.url("/lies"), &commit, ErrorCode::DigestMismatch, &missing);
    let (authority, moved) = serve(&repository, &stranger.origin());
    let this = Try::of(&authority, &moved);
    this.refuses(&moved.url("/moved"), &commit, ErrorCode::Network, "another address, which is not followed");
    assert_eq!(stranger.asked(), [""; 0]);
}

#[test]
fn trees_that_lead_elsewhere_are_refused_whole() {
    let repository = Repository::new("sha1");
    let (authority, server) = serve(&repository, "");
    let url = server.url("/ann/app.git");
    for (lines, cause) in [
        (
            &[("100644", ".git", "x"), ("100644", "fine", "x")][..],
            "`.git` of the commit would be the data of a repository",
        ),
        (&[("100644", "..", "x")], "`..` of the commit leads elsewhere"),
        (&[("100644", "../x", "x")], "`../x` of the commit leads elsewhere"),
        (&[("120000", "a", "/etc"), ("100644", "a/passwd", "x")], "`a/passwd` of the commit leads elsewhere"),
        (&[("120000", "a", "/etc"), ("40000", "a", "")], "`a` of the commit is there twice"),
        (&[("160000", "library", "")], "`library` of the commit is a submodule"),
        (&[("104755", "su", "x")], "`su` of the commit has the mode 104755"),
    ] {
        let commit = repository.commit_of(lines);
        let this = Try::of(&authority, &server);
        this.refuses(&url, &commit, ErrorCode::Invalid, cause);
        assert_eq!(
            std::fs::read_to_string(this.root.path().join("etc/passwd")).unwrap(),
            "root:x:0:0:root:/root:/bin/bash\n"
        );
    }
}
