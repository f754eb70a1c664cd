//! An archive that a plugin brings, with its keys: taken as one of the recipe's own, if it is granted and is what it says.

use piimg_tests::repository::{Key, Package, Repository, Server, Suite, bring};

use super::fetched::INSTALLS;
use super::{Place, contains, suite};

/// An archive with one package, signed by `key`.
pub(super) fn robots(key: &Key) -> (Repository, Server) {
    let mut repository = Repository::new();
    let tool = Package::new("robot-tool", "1.0", "arm64");
    repository.publish(&Suite::new("stable", &["arm64"]).component("main", vec![tool]), Some(key));
    let server = Server::new(repository.path());
    (repository, server)
}

pub(super) const PLUGIN: [&str; 3] = ["--plugin", "archives.wasm", "--grant-requested"];

/// Whether its list was fetched, and so believed.
fn fetched(server: &Server) -> bool {
    server.asked().iter().any(|path| path.ends_with("/main/binary-arm64/Packages"))
}

#[test]
fn packages_come_from_it_if_it_is_granted() {
    let (place, key) = (Place::new(&suite()), Key::new());
    let (_repository, server) = robots(&key);
    let words = format!("robots {} stable main", server.url());
    bring(place.dir.path(), &words, &[key.fingerprint()], &key.armored_ring());
    let said = place.refused(&PLUGIN[..2]);
    let scope = format!("pkg:repo:{}", server.url());
    let reason = format!("an archive of packages, signed with {}, suite \"stable\"", key.fingerprint());
    contains(&said, &[&scope, &reason, "needs capabilities that nobody granted"]);
    // A site can stop it.
    std::fs::write(place.dir.path().join("policy.toml"), "version = 1\nallow = [\"pkg:install\"]\n").unwrap();
    let said = place.refused(&[&PLUGIN[..], &["--policy", "policy.toml"]].concat());
    contains(&said, &[&scope, "needs capabilities that are not allowed here"]);
    assert_eq!((server.asked(), place.server.asked()), (vec![], vec![]));
    contains(&place.refused(&PLUGIN), &[INSTALLS]);
    assert!(fetched(&server), "{:?}", server.asked());
}

#[test]
fn a_flat_archive_has_no_components() {
    let (place, key) = (Place::new(&suite()), Key::new());
    let mut repository = Repository::new();
    let tool = Package::new("robot-tool", "1.0", "arm64");
    repository.publish(&Suite::new("./", &["arm64"]).component("flat", vec![tool]), Some(&key));
    let server = Server::new(repository.path());
    bring(place.dir.path(), &format!("robots {} ./", server.url()), &[key.fingerprint()], &key.armored_ring());
    contains(&place.refused(&PLUGIN), &[INSTALLS]);
    assert!(server.asked().iter().any(|path| path.ends_with("/Packages")), "{:?}", server.asked());
}

#[test]
fn a_mirror_and_a_key_ring_of_the_users_stand_in_for_it() {
    let (place, key) = (Place::new(&suite()), Key::new());
    let (_repository, near) = robots(&key);
    let other = Key::new();
    bring(
        place.dir.path(),
        "robots https://archive.invalid/robots stable main",
        &[other.fingerprint()],
        &other.armored_ring(),
    );
    std::fs::write(place.dir.path().join("near.gpg"), key.ring()).unwrap();
    let (mirror, ring) = (format!("robots={}", near.url()), format!("robots=near.gpg#{}", key.fingerprint()));
    contains(&place.refused(&[&PLUGIN[..], &["--mirror", &mirror, "--keyring", &ring]].concat()), &[INSTALLS]);
    assert!(fetched(&near));
}

#[test]
fn its_keys_are_those_that_it_names_and_no_others() {
    let (place, key, other) = (Place::new(&suite()), Key::new(), Key::new());
    let (_repository, server) = robots(&key);
    let words = format!("robots {} stable main", server.url());
    let both = [key.ring(), other.ring()].concat();
    let (own, strange) = (key.fingerprint(), other.fingerprint());
    for (named, keys, said) in [
        (vec![own.clone()], other.armored_ring(), format!("it must hold the key {own}; its keys are: {strange}")),
        (vec![own.clone(), strange.clone()], key.armored_ring(), format!("{own} and {strange} and no other")),
        (vec![own.clone()], armored(&both), format!("it must hold the key {own} and no other; its keys are: ")),
        (vec![own.clone()], b"no key".to_vec(), "it is no key ring that gpg can read".to_owned()),
        (vec![own[24..].to_owned()], key.armored_ring(), "must be a whole fingerprint".to_owned()),
        (vec![], key.armored_ring(), "nothing comes from an archive that is not signed".to_owned()),
    ] {
        bring(place.dir.path(), &words, &named, &keys);
        contains(&place.refused(&PLUGIN), &[&said]);
    }
    // The archive is signed by another one than it names.
    bring(place.dir.path(), &words, &[strange], &other.armored_ring());
    contains(&place.refused(&PLUGIN), &["stable InRelease` is signed with the key ", "which is not in the key ring"]);
    assert!(!fetched(&server));
}

/// As text, which is what the guest can hold.
#[expect(clippy::disallowed_methods, reason = "the tests make keys with the tools that others use")]
fn armored(ring: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ring"), ring).unwrap();
    let output =
        std::process::Command::new("gpg").args(["--enarmor", "--output", "-"]).arg(dir.path().join("ring")).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.replace("ARMORED FILE", "PUBLIC KEY BLOCK").into_bytes()
}

#[test]
fn what_is_no_archive_is_refused_before_anybody_is_asked() {
    let (place, key) = (Place::new(&suite()), Key::new());
    for (words, said) in [
        ("robots file:///srv/debian stable main", "must be a plain address of http or https"),
        ("robots https://ann:secret@archive.invalid/robots stable main", "it has a user or password in it"),
        ("robots https://archive.invalid/robots?x stable main", "must be without query and fragment"),
        ("robots https://archive.invalid/robots stable/ main", "must not end with `/`"),
        ("../robots https://archive.invalid/robots stable main", "must be 1 to 64 ASCII letters"),
        ("debian https://archive.invalid/robots stable main", "is another one than that of the same name"),
    ] {
        bring(place.dir.path(), words, &[key.fingerprint()], &key.armored_ring());
        contains(&place.refused(&PLUGIN), &[said]);
    }
    assert_eq!(place.server.asked(), [""; 0]);
}
