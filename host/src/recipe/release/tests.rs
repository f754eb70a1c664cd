use std::collections::BTreeSet;

use super::repository::is_fingerprint;
use super::*;
use crate::recipe::model::Model;
use crate::rootfs::boot_config::ConfigTxt;
use crate::rootfs::files::ImagePath;

/// Each release for each of its architectures.
fn all() -> Vec<(String, Release)> {
    let releases = Releases::builtin().unwrap();
    let mut all = Vec::new();
    for release in releases.0.into_values() {
        for architecture in &release.architectures {
            all.push((architecture.clone(), release.clone().resolved(architecture)));
        }
    }
    all
}

#[test]
fn piimg_carries_the_releases_it_says() {
    let found: Vec<(String, String)> =
        all().into_iter().map(|(architecture, release)| (release.name, architecture)).collect();
    let expected = [
        ("bookworm", "arm64"),
        ("focal", "arm64"),
        ("focal", "armhf"),
        ("jammy", "arm64"),
        ("noble", "arm64"),
        ("raspios-bookworm", "arm64"),
        ("raspios-bookworm", "armhf"),
        ("raspios-trixie", "arm64"),
        ("raspios-trixie", "armhf"),
        ("trixie", "arm64"),
    ];
    assert_eq!(found, expected.map(|(name, architecture)| (name.to_owned(), architecture.to_owned())));
    let names: BTreeSet<String> = Releases::builtin().unwrap().0.into_values().map(|release| release.name).collect();
    for file in FILES.get_dir("releases").unwrap().files() {
        let stem = file.path().file_stem().unwrap().to_str().unwrap();
        assert!(names.contains(stem), "{stem}.toml must be named for its release");
    }
}

#[test]
fn what_a_release_names_is_there() {
    for (architecture, release) in all() {
        let name = format!("{} for {architecture}", release.name);
        assert!(release.fstab.contains("{root_partuuid}") && release.fstab.contains("{boot_partuuid}"), "{name}");
        let mut paths = BTreeSet::new();
        for file in &release.files {
            ImagePath::parse(&file.path).unwrap();
            assert!(paths.insert(&file.path), "{name} has two files {}", file.path);
            assert!(!file.content.is_empty(), "{name}: {}", file.path);
        }
        for unit in &release.enable {
            assert!(paths.iter().any(|path| path.ends_with(&format!("/{unit}"))), "{name} has no unit {unit}");
        }
        for packages in [&release.packages, &release.groups] {
            assert_eq!(packages.iter().collect::<BTreeSet<_>>().len(), packages.len(), "{name} names one twice");
        }
        for entry in &release.boot_files {
            assert!(entry.from.starts_with('/') && !entry.to.starts_with('/'), "{name}: {entry:?}");
        }
    }
}

#[test]
fn every_repository_is_signed_with_known_keys() {
    for (architecture, release) in all() {
        let own = release.own_repository(&architecture).unwrap();
        assert!(!own.optional, "{}", release.name);
        // Of the host, for native tools.
        release.own_repository("amd64").unwrap();
        let names: BTreeSet<&str> = release.repositories.iter().map(|repository| repository.name.as_str()).collect();
        assert_eq!(names.len(), release.repositories.len(), "{} has two repositories of one name", release.name);
        for (ring, keys) in &release.keyrings {
            assert!(!keys.fingerprints.is_empty() && keys.image.starts_with("/usr/share/keyrings/"), "{ring}");
            let whole = keys.fingerprints.iter().all(|key| is_fingerprint(key) && *key == key.to_uppercase());
            assert!(whole, "{ring} needs whole fingerprints in capitals");
        }
    }
}

#[test]
fn models_are_those_that_kernel_and_firmware_know() {
    let newer = ["noble", "raspios-bookworm", "raspios-trixie"];
    for (architecture, release) in all() {
        let name = format!("{} for {architecture}", release.name);
        assert!(!release.models.is_empty(), "{name}");
        for model in &release.models {
            assert!(Model::from_name(model).is_some(), "{name} names the unknown model {model}");
        }
        assert_eq!(release.models.contains(&"pi5".to_owned()), newer.contains(&&*release.name), "{name}");
    }
}

#[test]
fn config_and_command_line_are_what_the_firmware_reads() {
    for (architecture, release) in all().into_iter().filter(|(_, release)| release.distribution != "debian") {
        let name = format!("{} for {architecture}", release.name);
        let text = |path: &str| {
            let file = release.files.iter().find(|file| file.path == path);
            file.unwrap_or_else(|| panic!("{name} has no {path}")).content.clone()
        };
        let config = text("/boot/firmware/config.txt");
        assert_eq!(ConfigTxt::parse(&config).print(), config, "{name}");
        assert!(config.lines().all(|line| line.len() <= 98), "{name}: the firmware reads 98 characters of a line");
        let cmdline = text("/boot/firmware/cmdline.txt");
        assert_eq!(cmdline.lines().count(), 1, "{name}");
        assert!(cmdline.contains(" root=PARTUUID={root_partuuid} "), "{name}");
        assert!(release.root_references.contains(&"/boot/firmware/cmdline.txt".to_owned()), "{name}");
    }
}

#[test]
fn unknown_keys_and_missing_files_are_named() {
    let text = include_str!("../../../../files/releases/trixie.toml");
    let error = parse(&format!("nmae = 1\n{text}"), text_of).unwrap_err();
    assert!(format!("{error:#}").contains("unknown field `nmae`"), "{error:#}");
    let without = |gone: &'static str| move |name: &str| text_of(name).filter(|_| name != gone);
    let error = parse(text, without("raspi-firmware/default")).unwrap_err();
    assert_eq!(error.to_string(), "there is no file `raspi-firmware/default`");
    let error = parse(&text.replace("signed-by = \"debian\"", "signed-by = \"x\""), text_of).unwrap_err();
    assert_eq!(error.to_string(), "there is no key ring `x` for the repository `debian`");
}

#[test]
fn an_architecture_adds_to_what_all_have() {
    let releases = Releases::builtin().unwrap();
    let focal = releases.get("focal").unwrap();
    let config = |architecture: &str| {
        let release = focal.clone().resolved(architecture);
        let config = release.files.iter().find(|file| file.path.ends_with("/config.txt")).unwrap().content.clone();
        (config.contains("arm_64bit=1"), config.contains("kernel=vmlinux\n"), release.parts.len())
    };
    assert_eq!(config("arm64"), (true, true, 0));
    assert_eq!(config("armhf"), (false, false, 0));
}
