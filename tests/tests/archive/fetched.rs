//! How packages are fetched: through a proxy, again after a failure, from an old state of the archive, or not at all.
//!
//! The packages are empty, so that each of these builds fails once they are fetched: there is no shell to configure them.

use std::time::{Duration, SystemTime};

use piimg_tests::repository::Answer;
use sha2::{Digest as _, Sha256};

use super::{Place, contains, suite};

const FETCHED: &str = "base-files_1.0_arm64.deb";

/// What is said where all packages were fetched and the first was to be installed.
pub(super) const INSTALLS: &str = "cannot install the essential packages of `bookworm`";

fn fetched(place: &Place, file: &str) -> usize {
    place.server.asked().iter().filter(|path| path.ends_with(file)).count()
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let place = Place::new(&suite());
    place.recipe("[downloads]\nretries = 0\ntimeout-seconds = 1\n");
    place.server.answer(FETCHED, Answer::Silence);
    contains(&place.refused(&[]), &[FETCHED, "`: the server does not answer", "curl --head"]);
    assert!(fetched(&place, FETCHED) > 0);
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let place = Place::new(&suite());
    place.server.answer(FETCHED, Answer::BusyFor(2));
    contains(&place.refused(&[]), &[INSTALLS]);
    assert_eq!(fetched(&place, FETCHED), 3);
}

#[test]
fn a_server_that_stays_busy_is_given_up() {
    let place = Place::new(&suite());
    place.recipe("[downloads]\nretries = 1\n");
    place.server.answer(FETCHED, Answer::BusyFor(100));
    contains(&place.refused(&[]), &[&format!("{FETCHED}`: 503")]);
    assert_eq!(fetched(&place, FETCHED), 2);
}

#[test]
fn a_proxy_is_asked_for_what_only_it_can_reach() {
    let place = Place::new(&suite());
    let keyring = place.keyring();
    let archive = ["--mirror", "http://archive.invalid/made-up", "--keyring", &keyring];
    // Below this path the proxy's server has the archive.
    std::os::unix::fs::symlink(".", place.repository.path().join("made-up")).unwrap();
    contains(&place.fails(&archive, &["--apt-proxy", &place.server.url()]), &[INSTALLS]);
    let asked = place.server.asked();
    assert!(asked.iter().all(|path| path.starts_with("http://archive.invalid/made-up/")), "{asked:?}");
    assert!(asked.iter().any(|path| path.ends_with(FETCHED)), "{asked:?}");
}

#[test]
fn an_old_state_of_the_archive_may_have_expired() {
    let mut suite = suite();
    suite.date = SystemTime::now() - Duration::from_secs(90 * 86_400);
    suite.valid_until = Some(SystemTime::now() - Duration::from_secs(80 * 86_400));
    let place = Place::new(&suite);
    std::os::unix::fs::symlink(".", place.repository.path().join("20250601T000000Z")).unwrap();
    place.recipe(&format!("snapshot-mirror = \"{}/{{timestamp}}\"\n", place.server.url()));
    let keyring = place.keyring();
    let archive = ["--snapshot", "2025-06-01", "--keyring", &keyring];
    contains(&place.fails(&archive, &[]), &[INSTALLS]);
    let asked = place.server.asked();
    assert!(asked.iter().all(|path| path.starts_with("/20250601T000000Z/")), "{asked:?}");
}

#[test]
fn an_offline_build_asks_nobody() {
    let place = Place::new(&suite());
    contains(
        &place.refused(&["--offline"]),
        &["error: the build is offline, and the store has no lists of this archive", "build once without --offline"],
    );
    assert_eq!(place.server.asked(), [""; 0]);
}

#[test]
fn builds_that_fetch_the_same_at_the_same_time_do_not_disturb_each_other() {
    let place = Place::new(&suite());
    let keyring = place.keyring();
    // A base layer of its own each, in one store: the same archive by three addresses.
    let mirrors = ["", "/one", "/two"].map(|path| {
        if let Some(name) = path.strip_prefix('/') {
            std::os::unix::fs::symlink(".", place.repository.path().join(name)).unwrap();
        }
        place.server.url() + path
    });
    std::thread::scope(|scope| {
        let build =
            |mirror: &str| contains(&place.fails(&["--mirror", mirror, "--keyring", &keyring], &[]), &[INSTALLS]);
        let builds = mirrors.each_ref().map(|mirror| scope.spawn(move || build(mirror)));
        builds.into_iter().for_each(|build| build.join().unwrap());
    });
    let archives = place.dir.path().join("store/data/archives");
    let names = std::fs::read_dir(&archives).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let packages: Vec<String> = names.filter(|name| !name.contains('.')).collect();
    assert!(packages.contains(&digest(&place)), "{packages:?}");
    for name in packages {
        assert_eq!(hex(&std::fs::read(archives.join(&name)).unwrap()), name, "it is not whole");
    }
}

/// That of the file that is looked at, by which the store knows it.
fn digest(place: &Place) -> String {
    hex(&std::fs::read(place.repository.path().join(place.repository.file_of("base-files"))).unwrap())
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_package_of_the_store_that_is_damaged_is_named_and_fetched_anew() {
    let place = Place::new(&suite());
    contains(&place.refused(&[]), &[INSTALLS]);
    assert_eq!(fetched(&place, FETCHED), 1);
    let kept = place.dir.path().join("store/data/archives").join(digest(&place));
    let mut content = std::fs::read(&kept).unwrap();
    let signed = content.clone();
    *content.last_mut().unwrap() ^= 1;
    // In place: the length is the same.
    std::fs::write(&kept, &content).unwrap();
    contains(&place.refused(&[]), &[FETCHED, "of the store is not what the archive's signature says", INSTALLS]);
    assert_eq!((fetched(&place, FETCHED), std::fs::read(&kept).unwrap()), (2, signed));
}
