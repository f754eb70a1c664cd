//! Archives that a plugin unpacks: what it gets of them, and what it does not.

use std::io::Write as _;

use super::*;

/// An archive of these members: kind, path, target, content.
fn archive(members: &[(tar::EntryType, &str, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, target, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o4755);
        header.set_uid(1234);
        header.set_gid(1234);
        // The builder would refuse what a stranger's has.
        let name = header.as_gnu_mut().unwrap();
        name.name[..path.len()].copy_from_slice(path.as_bytes());
        name.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

/// Unpacks it into `/opt/release` without the first part of its paths.
fn unpacking(content: Vec<u8>) -> Trial {
    let trial = trial("customizations").param("of", "unpack").param("ssid", "x").param("passphrase", "correct horse");
    let trial = trial.grant_nothing().grant("asset:release").grant("fs:write:/opt/release/**");
    trial.asset("release", content).asset("sensor", "x").asset("app", "x").secret("ann-password", "battery staple")
}

use tar::EntryType::{Directory, Fifo, Link, Regular, Symlink};

#[test]
fn files_and_links_come_out_of_it_whatever_it_is_compressed_with() {
    let plain = archive(&[
        (Directory, "app-1/", "", ""),
        (Directory, "app-1/bin/", "", ""),
        (Regular, "app-1/bin/run", "", "#!/bin/sh\n"),
        (Symlink, "app-1/current", "bin/run", ""),
        (Link, "app-1/same", "app-1/bin/run", ""),
        (Regular, "./app-1/deep/er/file", "", "x"),
    ]);
    for content in [gzip(&plain), plain] {
        let ran = unpacking(content).run();
        let file = ran.entry("/opt/release/bin/run");
        assert_eq!((file.mode, file.user(), file.group()), (0o755, "root", "root"), "no bit that lends rights");
        assert_eq!(ran.read("/opt/release/same"), "#!/bin/sh\n");
        assert_eq!(ran.entry("/opt/release/current").kind, "link");
        assert_eq!(ran.read("/opt/release/deep/er/file"), "x");
        let calls: Vec<&str> =
            ran.calls().iter().map(|call| call.function.as_str()).filter(|name| name.starts_with("fs.")).collect();
        assert_eq!(calls, ["fs.unpack"]);
    }
}

#[test]
fn an_archive_that_leads_elsewhere_writes_nothing() {
    for (members, cause) in [
        (&[(Regular, "a/ok", "", "x"), (Regular, "a/../../etc/passwd", "", "x")][..], "it leads out of the archive"),
        (&[(Regular, "a/ok", "", "x"), (Fifo, "a/pipe", "", "")], "it is a device, a pipe or a socket"),
        (
            &[(Regular, "a/ok", "", "x"), (Link, "a/hard", "/etc/shadow", "")],
            "it is a link to a file that does not come before it",
        ),
        (&[(Regular, "a/ok", "", "x"), (Link, "a/hard", "../../etc/shadow", "")], "it leads out of the archive"),
    ] {
        let failed = unpacking(archive(members)).fail();
        assert!(
            failed.message().contains("cannot unpack `") && failed.message().contains(cause),
            "{}",
            failed.message()
        );
        assert_eq!(failed.before().changed(), Vec::<&str>::new(), "{cause}");
    }
    let failed = unpacking(b"no archive at all, and longer than a block\n".repeat(100)).fail();
    assert!(failed.message().contains("cannot read the archive"), "{}", failed.message());
}

/// Links of the image and of the archive itself.
#[test]
fn no_link_on_the_way_leads_it_out_of_the_directory() {
    // Made last, it is on nobody's way, and where files are there is no room for it.
    let through_itself = [(Symlink, "a/out", "/etc", ""), (Regular, "a/out/passwd", "", "x")];
    let failed = unpacking(archive(&through_itself)).fail();
    assert!(!failed.before().changed().contains(&"/etc/passwd"), "{:?}", failed.before().changed());
    // The image's own directory may be elsewhere: that takes a grant.
    let content = archive(&[(Regular, "a/lib/file", "", "x")]);
    let elsewhere = |content| unpacking(content).dir("/opt/gauge/lib").link("/opt/release/lib", "/opt/gauge/lib");
    let failed = elsewhere(content.clone()).fail();
    let refused: Vec<&str> = failed.before().refused().iter().map(|refused| refused.scope.as_str()).collect();
    assert_eq!(refused, ["fs:write:/opt/gauge/lib/file"]);
    let ran = elsewhere(content).grant("fs:write:/opt/gauge/lib/**").run();
    assert_eq!(ran.read("/opt/gauge/lib/file"), "x");
    // A link in the place of a file is replaced, not followed.
    let content = archive(&[(Regular, "a/note", "", "x")]);
    let ran = unpacking(content).link("/opt/release/note", "/etc/passwd").run();
    assert_eq!((ran.entry("/opt/release/note").kind.as_str(), ran.read("/opt/release/note").as_str()), ("file", "x"));
    assert!(!ran.changed().contains(&"/etc/passwd"));
}
