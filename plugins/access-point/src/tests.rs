#![expect(
    clippy::disallowed_methods,
    reason = "the script is run as it is, and the tools of the host are out of reach here"
)]

use std::fs::{read_to_string, write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::*;

fn example() -> String {
    profile("robot-", "correct horse", "wlan0", "10.42.0.1/24").unwrap()
}

/// A directory of the test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("piimg-access-point-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Runs the script on an interface with this address.
    fn run(&self, address: &str) -> Output {
        let at = |name: &str| self.0.join(name);
        write(at("script"), include_str!("name-access-point")).unwrap();
        write(at("address"), address).unwrap();
        write(at("template"), example()).unwrap();
        Command::new("sh").args([at("script"), at("address"), at("template"), at("profile")]).output().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn the_network_is_named_after_the_address() {
    let scratch = Scratch::new("named");
    let output = scratch.run("dc:a6:32:01:ab:cd\n");
    assert!(output.status.success(), "{output:?}");
    let profile = scratch.0.join("profile");
    assert_eq!(read_to_string(&profile).unwrap(), example().replace(PLACEHOLDER, "abcd"));
    assert!(read_to_string(&profile).unwrap().contains("\nssid=robot-abcd\n"));
    assert_eq!(profile.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!scratch.0.join("profile.new").exists());
}

#[test]
fn no_address_is_no_network() {
    let scratch = Scratch::new("unnamed");
    let output = scratch.run("\n");
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.ends_with("/address has no hardware address in it\n"), "{message}");
    assert!(!scratch.0.join("profile").exists());
}

#[test]
fn the_placeholder_is_in_the_name_only() {
    assert_eq!(example().matches(PLACEHOLDER).count(), 1);
    assert!(example().contains("\nmode=ap\n") && example().contains("\naddress1=10.42.0.1/24\n"));
}

#[test]
fn what_fits_into_no_name_is_refused() {
    let error = |prefix: &str, interface: &str, passphrase: &str| {
        profile(prefix, passphrase, interface, "10.42.0.1/24").unwrap_err().to_string()
    };
    assert_eq!(
        error("@", "wlan0", "correct horse"),
        "`@` cannot begin a network's name here: letters, digits, `_` and `-`"
    );
    // With the digits it has 33.
    assert_eq!(
        error(&"x".repeat(29), "wlan0", "correct horse"),
        format!("`{}@@@@` is no wireless network's name: it has 1 to 32 bytes", "x".repeat(29))
    );
    assert_eq!(
        error("", "wl*", "correct horse"),
        "`wl*` is not one interface, such as `wlan0`: an access point is on one"
    );
    assert_eq!(
        error("", "wlan0", "short"),
        "the passphrase of the wireless network `@@@@` does not have 8 to 63 printable ASCII characters, \
         or 64 hexadecimal digits"
    );
}

#[test]
fn it_asks_for_exactly_the_files_that_it_writes() {
    let scopes = AccessPoint::conf().capabilities().into_iter().map(|capability| capability.scope);
    let files: Vec<String> = scopes.filter(|scope| scope.starts_with("fs:")).collect();
    assert_eq!(files, [TEMPLATE, SCRIPT, RULES].map(|path| format!("fs:write:{path}")));
}
