//! Images that are booted, and what is true inside of them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use piimg::image::boot::{BootOptions, boot};
use piimg::image::layout::Bytes;
use piimg::image::mbr;
use piimg_tests::host::Host;
use piimg_tests::{guest, parser};

use super::{Workplace, texts};

#[test]
fn an_image_with_a_plugin_boots_and_has_what_the_plugin_made() {
    let place = Workplace::new();
    let plugin = guest("minimal");
    let arguments = ["--plugin", plugin.to_str().unwrap(), "--grant-requested"];
    let before = Host::now();
    let (image, _) = place.build(&arguments);
    assert_eq!(Host::now(), before, "the build left something on the host");
    let name = image.file_name().unwrap().to_str().unwrap();
    assert_eq!(name, "2025-06-15T1506Z-minimal-bookworm-raspberry-pi.img");
    assert_eq!(std::fs::read_to_string(image.with_file_name("latest_image")).unwrap(), format!("{name}\n"));

    let (again, said) = place.build(&arguments);
    for step in ["Bootstrap bookworm (arm64)", "Create the user ubuntu", "Run the plugin piimg/minimal"] {
        assert!(said.contains(&format!("{step}: unchanged, from the store")), "{step:?} ran again:\n{said}");
    }
    assert!(said.contains("Write the image: unchanged, it is there already"), "{said}");
    assert_eq!(again, image);

    let longer = Bytes::mib(4096);
    let options = BootOptions { disk: Some(longer), parser: parser(), ..BootOptions::default() };
    let mut machine = boot(&std::fs::File::open(&image).unwrap(), &options, Box::new(|_| {})).unwrap();
    machine.wait_for_login(Duration::from_secs(600)).unwrap();
    machine.login("ubuntu", "raspberry").unwrap();
    let mut ask = |command: &str| {
        let (status, output) = machine.run(command, Duration::from_secs(120)).unwrap();
        (status, output.trim().to_owned())
    };
    // One may log in before all is started.
    assert_eq!(ask("systemctl is-system-running --wait"), (0, "running".into()));
    assert_eq!(ask("hostname"), (0, "piimg-minimal".into()));
    assert_eq!(ask("grep -c piimg-minimal /etc/hosts"), (0, "1".into()));
    let (status, text) = ask("cat /etc/piimg-minimal");
    assert!(status == 0 && text.contains("bookworm"), "{status}: {text}");
    assert_eq!(ask("dpkg-query -W -f '${db:Status-Abbrev}' htop").1.trim(), "ii");
    assert_eq!(ask("htop --version | head -n 1").0, 0);
    // The disk is 4 GiB: the root file system must have grown beyond the image.
    let (_, size) = ask("df --output=size -BM / | tail -n 1 | tr -d ' M'");
    assert!(size.parse::<u64>().unwrap() > 3000, "the root file system has {size} MiB");
    assert_eq!(ask("ls /etc/ssh/ssh_host_ed25519_key"), (0, "/etc/ssh/ssh_host_ed25519_key".into()));
    assert_eq!(ask("systemctl is-active ssh"), (0, "active".into()));
    assert_eq!(ask("systemctl list-units --failed --no-legend | wc -l"), (0, "0".into()));
    assert_eq!(ask("test -s /etc/machine-id && echo made"), (0, "made".into()));
    assert_eq!(ask("findmnt -n -o FSTYPE /boot/firmware"), (0, "vfat".into()));
    assert_eq!(
        ask("ls -d /.piimg /usr/sbin/policy-rc.d /usr/lib/x86_64-linux-gnu 2>/dev/null | wc -l"),
        (0, "0".into())
    );
}

#[test]
fn trixie_builds_and_boots() {
    let place = Workplace::new();
    let (image, _) = place.build(&["--release", "trixie", "--hostname", "three"]);
    damage_root(&image);
    let mut machine = boot(
        &std::fs::File::open(&image).unwrap(),
        &BootOptions { parser: parser(), ..BootOptions::default() },
        Box::new(|_| {}),
    )
    .unwrap();
    machine.wait_for_login(Duration::from_secs(600)).unwrap();
    machine.login("ubuntu", "raspberry").unwrap();
    let (status, output) =
        machine.run(". /etc/os-release; echo $VERSION_CODENAME $(hostname)", Duration::from_secs(60)).unwrap();
    assert_eq!((status, output.trim()), (0, "trixie three"));
    // The initramfs has mended it, before anything was read from it.
    let look = "echo raspberry | sudo -S -p '' cat /run/initramfs/fsck.log; stat -c %h /etc/hostname";
    let (status, output) = machine.run(look, Duration::from_secs(120)).unwrap();
    assert!(status == 0 && output.contains("ROOT: ***** FILE SYSTEM WAS MODIFIED *****"), "{output}");
    assert!(output.trim_end().ends_with("\n1"), "{output}");
}

/// Leaves the root file system as a plug that was pulled may: in use, with an inode that counts names which it does not have.
fn damage_root(image: &Path) {
    let table = mbr::read(&std::fs::File::open(image).unwrap()).unwrap();
    let (_, root) = table.root().unwrap();
    let place = format!("{}?offset={}", image.display(), root.start.to_bytes().0);
    for request in ["set_inode_field /etc/hostname links_count 7", "set_super_value state 0"] {
        let output = Command::new("/sbin/debugfs").args(["-w", "-R", request, &place]).output().unwrap();
        let (said, errors) = texts(&output);
        assert!(output.status.success() && errors.lines().count() == 1, "{request}: {said}{errors}");
    }
}

/// The kernel finds the card by the device tree that is on it, and the root file system by the name in its own command line.
/// Four emulated cores keep two real ones busy for minutes.
#[cfg(feature = "long")]
#[test]
fn bookworm_starts_on_an_emulated_pi_from_its_card() {
    use std::sync::{Arc, Mutex};

    let place = Workplace::new();
    let (image, _) = place.build(&[]);
    let options = BootOptions { board: piimg::image::boot::Board::Raspi3b, parser: parser(), ..BootOptions::default() };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let on_line = Box::new(move |line: &str| sink.lock().unwrap().push(line.to_owned()));
    let mut machine = boot(&std::fs::File::open(&image).unwrap(), &options, on_line).unwrap();
    // The step that grows the root file system has seen the whole card.
    machine.wait_for("EXT4-fs (mmcblk0p2): resized filesystem", Duration::from_secs(900)).unwrap();
    drop(machine);
    let said = lines.lock().unwrap().join("\n");
    assert!(said.contains("Machine model: Raspberry Pi 3 Model B"), "{said}");
}
