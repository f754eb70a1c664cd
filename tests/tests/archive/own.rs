//! A repository of the recipe's own, beside the release's.

use piimg_tests::repository::{Key, Package, Repository, Server, Suite};

use super::fetched::INSTALLS;
use super::{Place, contains, suite};

/// An archive with one package, signed by `key`.
fn robots(key: Option<&Key>) -> (Repository, Server) {
    let mut repository = Repository::new();
    let tool = Package::new("robot-tool", "1.0", "arm64");
    repository.publish(&Suite::new("stable", &["arm64"]).component("main", vec![tool]), key);
    let server = Server::new(repository.path());
    (repository, server)
}

/// A recipe that takes packages from there, signed with a key of the file `robots.asc`.
fn recipe(place: &Place, server: &Server, key: &Key, more: &str) {
    std::fs::write(place.dir.path().join("robots.asc"), key.armored_ring()).unwrap();
    place.recipe(&format!(
        "packages = [\"robot-tool\"]\n[[repository]]\nname = \"robots\"\nurl = \"{}\"\nsuite = \"stable\"\n\
         components = [\"main\"]\nkeyring = \"robots.asc{more}\n",
        server.url()
    ));
}

/// Whether its list was fetched. The package itself would be installed above the base, which none of these builds gets to; a
/// build of jammy (`tests/releases/`) does.
fn fetched(server: &Server) -> bool {
    server.asked().iter().any(|path| path.ends_with("/main/binary-arm64/Packages"))
}

#[test]
fn packages_come_from_it() {
    let (place, key) = (Place::new(&suite()), Key::new());
    let (_repository, server) = robots(Some(&key));
    let named = format!("#{}\"", key.fingerprint());
    for more in ["\"", &named, "\"\narchitectures = [\"arm64\", \"amd64\"]"] {
        recipe(&place, &server, &key, more);
        contains(&place.refused(&[]), &[INSTALLS]);
    }
    assert!(fetched(&server), "{:?}", server.asked());
    // It has no lists of others, and is asked for none.
    assert!(server.asked().iter().all(|path| !path.contains("amd64")), "{:?}", server.asked());
}

#[test]
fn a_flat_archive_has_no_components() {
    let (place, key) = (Place::new(&suite()), Key::new());
    for directory in ["./", "/", "deb/arm/"] {
        let mut repository = Repository::new();
        let tools = ["arm64", "amd64"].map(|architecture| Package::new("robot-tool", "1.0", architecture));
        repository.publish(&Suite::new(directory, &["arm64", "amd64"]).component("flat", tools.into()), Some(&key));
        let server = Server::new(repository.path());
        std::fs::write(place.dir.path().join("robots.asc"), key.armored_ring()).unwrap();
        place.recipe(&format!(
            "packages = [\"robot-tool\"]\n[[repository]]\nname = \"robots\"\nurl = \"{}\"\nsuite = \"{directory}\"\n\
             keyring = \"robots.asc\"\n",
            server.url()
        ));
        contains(&place.refused(&[]), &[INSTALLS]);
        assert!(server.asked().iter().any(|path| path.ends_with("/Packages")), "{directory}: {:?}", server.asked());
        // What is not signed is not believed here either.
        repository.damage(&format!("{}Packages", directory.trim_start_matches('/')));
        std::fs::remove_dir_all(place.dir.path().join("store")).unwrap();
        let said = place.refused(&[]);
        assert!(!said.contains(INSTALLS), "{said}");
    }
}

#[test]
fn a_mirror_and_a_key_ring_stand_in_for_it() {
    let (place, key) = (Place::new(&suite()), Key::new());
    let (_repository, near) = robots(Some(&key));
    let (_other, far) = robots(Some(&Key::new()));
    recipe(&place, &far, &Key::new(), "\"");
    std::fs::write(place.dir.path().join("near.gpg"), key.ring()).unwrap();
    let mirror = format!("robots={}", near.url());
    contains(&place.refused(&["--mirror", &mirror, "--keyring", "robots=near.gpg"]), &[INSTALLS]);
    assert!(fetched(&near) && far.asked().is_empty());
}

#[test]
fn it_is_of_no_use_for_another_architecture() {
    let (place, key) = (Place::new(&suite()), Key::new());
    let (_repository, server) = robots(Some(&key));
    recipe(&place, &server, &key, "\"\narchitectures = [\"armhf\"]");
    contains(&place.refused(&[]), &["the archive has no package `robot-tool`"]);
    assert_eq!(server.asked(), [""; 0]);
}

#[test]
fn one_that_is_not_signed_or_by_a_stranger_is_refused() {
    let (place, key) = (Place::new(&suite()), Key::new());
    let address = |server: &Server| server.url().replace("http://", "");
    let (_repository, server) = robots(None);
    recipe(&place, &server, &key, "\"");
    contains(&place.refused(&[]), &[&address(&server), "stable Release` is not signed"]);
    let (_repository, server) = robots(Some(&Key::new()));
    recipe(&place, &server, &key, "\"");
    let stranger = "stable InRelease` is signed with the key ";
    contains(&place.refused(&[]), &[&address(&server), stranger, "which is not in the key ring"]);
    assert!(!fetched(&server));
}

#[test]
fn its_keys_are_looked_at_first() {
    let (place, key) = (Place::new(&suite()), Key::new());
    let (_repository, server) = robots(Some(&key));
    let other = "A".repeat(40);
    recipe(&place, &server, &key, &format!("#{other}\""));
    let refusal = "error: cannot use the key ring `robots` of the recipe\n";
    let hint = "hint: give the right file: --keyring robots=FILE, or FILE#FINGERPRINT if another key is meant\n";
    let holds = format!("it must hold the key {other}; its keys are: {}", key.fingerprint());
    contains(&place.refused(&[]), &[refusal, &holds, hint]);
    recipe(&place, &server, &key, ".gone\"");
    contains(&place.refused(&[]), &[refusal, "robots.asc.gone`", hint]);
    assert_eq!((server.asked(), place.server.asked()), (vec![], vec![]));
}
