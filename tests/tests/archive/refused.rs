//! Archives that are refused, each for its reason.

use std::time::{Duration, SystemTime};

use piimg_tests::repository::{Answer, Key, Package};

use super::{Place, Signer, contains, suite};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn one_that_is_signed_with_another_key() {
    let place = Place::signed_by(Signer::Stranger, &suite());
    contains(
        &place.refused(&[]),
        &["bookworm InRelease` is signed with the key ", "which is not in the key ring", "--keyring"],
    );
}

#[test]
fn one_that_is_not_signed() {
    let place = Place::signed_by(Signer::Nobody, &suite());
    contains(&place.refused(&[]), &["bookworm Release` is not signed"]);
}

#[test]
fn one_that_was_changed_after_it_was_signed() {
    let place = Place::new(&suite());
    let file = place.repository.path().join("dists/bookworm/InRelease");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("Label: Test", "Label: Best")).unwrap();
    contains(&place.refused(&[]), &["the signature of `", "bookworm InRelease` does not hold: it does not belong"]);
}

#[test]
fn one_that_has_expired() {
    let mut suite = suite();
    suite.date = SystemTime::now() - 9 * DAY;
    suite.valid_until = Some(SystemTime::now() - 2 * DAY);
    let said = Place::new(&suite).refused(&[]);
    contains(&said, &["/dists/bookworm/InRelease` expired 2d ", " ago", "clock is wrong: see `date`"]);
}

#[test]
fn one_of_the_future_which_means_that_the_clock_is_wrong() {
    let mut suite = suite();
    suite.date = SystemTime::now() + 3 * DAY;
    let said = Place::new(&suite).refused(&[]);
    contains(&said, &["/dists/bookworm/InRelease` was signed 2d ", " from now: this machine's clock is wrong"]);
}

#[test]
fn one_without_a_component_of_the_release() {
    let mut suite = suite();
    suite.components.remove("non-free-firmware").unwrap();
    let said = Place::new(&suite).refused(&[]);
    contains(&said, &["bookworm InRelease` has no component `non-free-firmware`", "a mirror of all components"]);
}

#[test]
fn one_without_the_images_architecture() {
    let mut suite = suite();
    suite.architectures = vec!["riscv64".into()];
    let said = Place::new(&suite).refused(&[]);
    contains(&said, &["the suite `bookworm` of the archive has no architecture `arm64`"]);
}

#[test]
fn one_that_is_another_suite() {
    let mut suite = suite();
    suite.codename = "trixie".into();
    let said = Place::new(&suite).refused(&[]);
    contains(&said, &["bookworm InRelease` calls itself `trixie`, not `bookworm`"]);
}

#[test]
fn one_whose_list_is_not_what_was_signed() {
    let place = Place::new(&suite());
    place.repository.damage("dists/bookworm/main/binary-arm64/Packages");
    contains(
        &place.refused(&[]),
        &["cannot fetch `http://127.0.0.1:", "/Packages`: it is not what the archive's signature says"],
    );
}

#[test]
fn one_whose_package_is_not_what_was_signed() {
    let place = Place::new(&suite());
    place.repository.damage(place.repository.file_of("base-files"));
    contains(
        &place.refused(&[]),
        &["base-files_1.0_arm64.deb`: it is not what the archive's signature says", "use another mirror"],
    );
}

#[test]
fn one_without_a_package_that_its_list_names() {
    let place = Place::new(&suite());
    place.server.answer("base-files_1.0_arm64.deb", Answer::Missing);
    contains(&place.refused(&[]), &["base-files_1.0_arm64.deb`: the server does not have it (404)"]);
}

#[test]
fn one_without_a_package_that_is_wanted() {
    let place = Place::new(&suite());
    contains(&place.refused(&["--package", "no-such"]), &["the archive has no package `no-such`"]);
}

#[test]
fn one_without_the_version_that_is_wanted() {
    let place = Place::new(&suite().component("main", vec![Package::new("tool", "2.0", "arm64")]));
    contains(
        &place.refused(&["--package", "tool=1.0"]),
        &["the archive has no version `1.0` of the package `tool`", "a snapshot of the archive"],
    );
}

#[test]
fn one_that_is_not_there() {
    let place = Place::new(&suite());
    std::fs::remove_dir_all(place.repository.path().join("dists")).unwrap();
    contains(&place.refused(&[]), &["there is no archive at `http://127.0.0.1:", "dists/"]);
}

#[test]
fn a_key_ring_without_the_right_key() {
    let place = Place::new(&suite());
    std::fs::write(place.dir.path().join("stranger.gpg"), Key::new().ring()).unwrap();
    let ring = format!("debian=stranger.gpg#{}", place.key.fingerprint());
    let said = place.fails(&["--mirror", &place.server.url(), "--keyring", &ring], &[]);
    contains(
        &said,
        &["cannot use the key ring `debian` of Debian 12", "it must hold the key ", &place.key.fingerprint()],
    );
    assert_eq!(place.server.asked(), [""; 0]);
}

#[test]
fn one_that_sends_a_package_without_end() {
    let place = Place::new(&suite());
    place.server.answer("base-files_1.0_arm64.deb", Answer::Endless);
    let said = place.refused(&[]);
    contains(
        &said,
        &[
            "cannot download `base-files_1.0_arm64.deb`",
            &format!(
                "{}/pool/main/base-files_1.0_arm64.deb` is longer than the archive's signature says",
                place.server.url()
            ),
            "use another mirror",
        ],
    );
}

#[test]
fn one_that_sends_a_list_without_end() {
    let place = Place::new(&suite());
    place.server.answer("main/binary-arm64/Packages", Answer::Endless);
    let list = format!("{}/dists/bookworm/main/binary-arm64/Packages", place.server.url().replace("http://", ""));
    // apt may notice it before piimg does.
    let longer = "longer than the archive's signature says";
    contains(&place.refused(&[]), &[&list, longer, "use another mirror"]);
    // Of the signed file nobody knows the length. apt may give it up first, and then looks for one without a signature.
    let place = Place::new(&suite());
    place.server.answer("InRelease", Answer::Endless);
    let said = place.refused(&[]);
    let host = place.server.url().replace("http://", "");
    let too_long = format!("the list `{host}/dists/bookworm/InRelease` has more than 19.1 MiB");
    let given_up = format!("http://{host} bookworm InRelease` is not signed");
    assert!(said.contains(&too_long) || said.contains(&given_up), "{said}");
}
