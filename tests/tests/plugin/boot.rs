//! The interface `boot-config`.

use piimg_tests::device_tree::device_tree;

use super::*;

const CONFIG: &str = "# mine\ndtparam=audio=on\nkernel=vmlinuz\n";
const CMDLINE: &str = "console=tty1 root=PARTUUID={root_partuuid} rootwait\n";

fn image_with_boot_files() -> tempfile::TempDir {
    let root = image();
    let boot = root.path().join("boot/firmware");
    std::fs::create_dir_all(&boot).unwrap();
    std::fs::write(boot.join("config.txt"), CONFIG).unwrap();
    std::fs::write(boot.join("cmdline.txt"), CMDLINE).unwrap();
    let tree = device_tree(&[("__overrides__", &[("i2c_arm", b"")])]);
    std::fs::write(boot.join("bcm2710-rpi-3-b.dtb"), tree).unwrap();
    root
}

/// What a plugin is told of lines for the device tree.
fn told_of_trees(files: &[(&str, Vec<u8>)]) -> Vec<String> {
    let root = image_with_boot_files();
    let boot = root.path().join("boot/firmware");
    std::fs::remove_file(boot.join("bcm2710-rpi-3-b.dtb")).unwrap();
    std::fs::create_dir(boot.join("overlays")).unwrap();
    for (name, content) in files {
        std::fs::write(boot.join(name), content).unwrap();
    }
    settings(root, "trees", &all()).1
}

#[test]
fn lines_that_the_firmware_would_skip_are_refused() {
    const NO_PARAMETER: &str = "spi: `dtparam=spi=on` would do nothing: no device tree of this image takes parameters; releases with \
                                Raspberry Pi's own overlays and parameters are focal, jammy, noble, raspios-bookworm, raspios-trixie";
    let tree = |labels: &[(&str, &[u8])]| device_tree(&[("__symbols__", labels)]);
    let overlay = device_tree(&[("__fixups__", &[("uart0", b"x")]), ("__overrides__", &[("fast", b"x")])]);
    // As Debian's bookworm has it, and trixie.
    for files in [
        vec![],
        vec![("bcm2837-rpi-3-b.dtb", device_tree(&[]))],
        vec![("bcm2837-rpi-3-b.dtb", tree(&[("uart0", b"x")]))],
    ] {
        let told = told_of_trees(&files);
        assert_eq!(told[0], NO_PARAMETER);
        let cause = "overlay: `dtoverlay=disable-bt,fast` would do nothing: there is no overlay \
                     `/boot/firmware/overlays/disable-bt.dtbo` (a plugin may put one there first); releases with";
        assert!(told[1].starts_with(cause), "{told:?}");
        assert_eq!(told[3], "end: true", "an empty overlay ends the parameters of the one before");
    }
    let own = |tree| vec![("bcm2837-rpi-3-b.dtb", tree), ("overlays/disable-bt.dtbo", overlay.clone())];
    let told = told_of_trees(&own(tree(&[("gpio", b"x")])));
    let cause = "overlay: `dtoverlay=disable-bt,fast` would do nothing: `/boot/firmware/overlays/disable-bt.dtbo` needs the labels \
                 uart0, which no device tree of this image has";
    assert!(told[1].starts_with(cause), "{told:?}");
    // One that fits, and its own parameter.
    let told = told_of_trees(&own(tree(&[("uart0", b"x")])));
    assert_eq!(
        (told[0].as_str(), &told[1..]),
        (NO_PARAMETER, &["overlay: true", "fast: true", "end: true"].map(String::from)[..])
    );
}

#[test]
fn boot_settings_change_only_the_keys_that_were_granted() {
    let (ran, told) = settings(image_with_boot_files(), "boot", &all());
    let expected = [
        "set: ()",
        "add: true",
        "again: false",
        "values: [\"audio=on\", \"i2c_arm=on\"]",
        "remove: 1",
        "other key: needs boot:config:kernel",
        "two lines: a value of config.txt is ASCII text of one line, without space at its ends",
        "two in one: a section's name has letters, digits and `_-+.:=`, such as `pi4`, and is not `none`",
        "parameter: ()",
        "two parameters: a parameter's name begins with a letter or digit and has no others but `_`, `-` and `.`",
        "init: needs boot:cmdline:init",
        "root: `root` is set by piimg, for each image anew",
    ];
    assert_eq!(told, expected);
    let config = "# mine\nkernel=vmlinuz\n[pi4]\ngpu_mem=64\n[all]\ndtparam=i2c_arm=on\n";
    assert_eq!(ran.read("boot/firmware/config.txt").as_deref(), Some(config));
    let cmdline = "console=tty1 root=PARTUUID={root_partuuid} rootwait quiet\n";
    assert_eq!(ran.read("boot/firmware/cmdline.txt").as_deref(), Some(cmdline));
    assert_eq!(ran.read("etc/default/raspi-firmware-custom"), None);
}

/// An image of somebody else's may keep its command lines elsewhere, and have several.
#[test]
fn a_parameter_goes_into_each_command_line_that_a_board_reads() {
    let root = image_with_boot_files();
    let boot = root.path().join("boot/firmware");
    std::fs::remove_file(boot.join("cmdline.txt")).unwrap();
    let config = "arm_64bit=1\ncmdline=pi3.txt\n[pi4]\ncmdline=four.txt\n";
    let files =
        ["start.elf", "fixup.dat", "bootcode.bin", "start4.elf", "fixup4.dat", "kernel8.img", "bcm2711-rpi-4-b.dtb"];
    let others =
        [("config.txt", config), ("pi3.txt", CMDLINE), ("FOUR.TXT", "console=ttyS1 quiet\n"), ("old.txt", CMDLINE)];
    for (name, content) in files.map(|name| (name, "")).into_iter().chain(others) {
        std::fs::write(boot.join(name), content).unwrap();
    }
    let (ran, told) = settings(root, "boot", &all());
    assert!(told.contains(&"parameter: ()".to_owned()), "{told:?}");
    let expected = [
        ("pi3.txt", Some("console=tty1 root=PARTUUID={root_partuuid} rootwait quiet\n")),
        ("FOUR.TXT", Some("console=ttyS1 quiet\n")),
        ("old.txt", Some(CMDLINE)),
        ("cmdline.txt", None),
    ];
    for (name, text) in expected {
        assert_eq!(ran.read(&format!("boot/firmware/{name}")).as_deref(), text, "{name}");
    }
}

#[test]
fn boot_settings_without_grant_change_nothing() {
    let (ran, told) = settings(image_with_boot_files(), "boot", &Granted::default());
    has_told(
        &told,
        &["set: needs boot:config:gpu_mem", "values: needs boot:config:dtparam", "parameter: needs boot:cmdline:quiet"],
    );
    assert_eq!(ran.read("boot/firmware/config.txt").as_deref(), Some(CONFIG));
    assert_eq!(ran.read("boot/firmware/cmdline.txt").as_deref(), Some(CMDLINE));
}

#[test]
fn a_link_at_the_place_of_a_boot_file_is_no_way_out() {
    let root = image_with_boot_files();
    let config = root.path().join("boot/firmware/config.txt");
    std::fs::remove_file(&config).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", &config).unwrap();
    let (ran, told) = settings(root, "boot", &all());
    assert_eq!(told[0], "set: `/boot/firmware/config.txt` is no regular file");
    assert_eq!(told[3], "values: `/boot/firmware/config.txt` is no regular file");
    assert_eq!(ran.read("etc/shadow").as_deref(), Some("root:secret\n"));
}

#[test]
fn a_boot_setting_is_in_both_files_or_ends_the_run() {
    let root = image_with_boot_files();
    let script = root.path().join("etc/kernel/postinst.d/z50-raspi-firmware");
    std::fs::create_dir_all(script.parent().unwrap()).unwrap();
    std::fs::write(script, "").unwrap();
    // There is no `/etc/default` to write the second file in.
    let ran = run_plugin(root, &look("settings").unwrap(), &all(), &[("of", "boot")], Limits::EXECUTE);
    let report = ran.failure(Kind::Plugin);
    let cause = "was stopped: not all boot files could be written: cannot write `/etc/default/raspi-firmware-custom`";
    assert!(report.messages.iter().any(|message| message.contains(cause)), "{report:?}");
    // The plugin was told nothing, and the layer is dropped with what is in it.
    assert_eq!(ran.log, Vec::<String>::new());
}

#[test]
fn boot_settings_outlive_the_script_that_makes_the_files() {
    let root = image_with_boot_files();
    for (path, content) in
        [("etc/default/raspi-firmware-custom", "disable_splash=1\n"), ("etc/kernel/postinst.d/z50-raspi-firmware", "")]
    {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let (ran, told) = settings(root, "boot", &all());
    // The line is the package's, which would bring it back.
    let refused = "remove: what is to be removed from `/boot/firmware/config.txt` is there again with the next kernel, for which \
                   the package raspi-firmware makes the file anew: set another value instead";
    has_told(&told, &[refused]);
    let custom = "disable_splash=1\n[pi4]\ngpu_mem=64\n[all]\ndtparam=i2c_arm=on\n";
    assert_eq!(ran.read("etc/default/raspi-firmware-custom").as_deref(), Some(custom));
    assert_eq!(ran.read("etc/default/raspi-extra-cmdline").as_deref(), Some("quiet"));
    assert!(ran.read("boot/firmware/config.txt").unwrap().ends_with("dtparam=i2c_arm=on\n"));
}
