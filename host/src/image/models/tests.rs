use super::*;

/// The boot partition of Debian bookworm with the stock kernel.
fn debian() -> BootFiles {
    let mut files = BootFiles::new([
        "bootcode.bin",
        "start.elf",
        "fixup.dat",
        "start_x.elf",
        "fixup_x.dat",
        "start4.elf",
        "fixup4.dat",
        "bcm2711-rpi-4-b.dtb",
        "bcm2711-rpi-400.dtb",
        "bcm2711-rpi-cm4-io.dtb",
        "bcm2837-rpi-3-b.dtb",
        "bcm2837-rpi-3-b-plus.dtb",
        "bcm2837-rpi-3-a-plus.dtb",
        "bcm2837-rpi-cm3-io3.dtb",
        "bcm2837-rpi-zero-2-w.dtb",
        "vmlinuz-6.1",
        "initrd.img-6.1",
        "cmdline.txt",
    ]);
    files.add_text(
        "config.txt",
        "arm_64bit=1\nupstream_kernel=1\nkernel=vmlinuz-6.1\n# x\ninitramfs initrd.img-6.1\n".into(),
    );
    files
}

/// The boot partition of Raspberry Pi OS for 64 bits.
fn raspios() -> BootFiles {
    let mut files = BootFiles::new([
        "bootcode.bin",
        "start.elf",
        "fixup.dat",
        "start4.elf",
        "fixup4.dat",
        "kernel8.img",
        "kernel_2712.img",
        "initramfs8",
        "bcm2710-rpi-3-b.dtb",
        "bcm2710-rpi-3-b-plus.dtb",
        "bcm2710-rpi-cm3.dtb",
        "bcm2710-rpi-zero-2-w.dtb",
        "bcm2711-rpi-4-b.dtb",
        "bcm2711-rpi-400.dtb",
        "bcm2711-rpi-cm4.dtb",
        "bcm2711-rpi-cm4s.dtb",
        "bcm2712-rpi-5-b.dtb",
        "bcm2712-rpi-500.dtb",
        "bcm2712-rpi-cm5-cm5io.dtb",
        "bcm2712-rpi-cm5l-cm5io.dtb",
        "cmdline.txt",
    ]);
    files.add_text("config.txt", "auto_initramfs=1\narm_64bit=1\n[cm4]\notg_mode=1\n[all]\n".into());
    files
}

/// The boot partition of Raspberry Pi OS for 32 bits: later boards start a kernel of 64 bits.
fn raspios_32() -> BootFiles {
    let mut files = raspios();
    files.names.remove("kernel_2712.img");
    files
        .names
        .extend(["kernel.img", "kernel7.img", "bcm2708-rpi-zero-w.dtb", "bcm2709-rpi-2-b.dtb"].map(str::to_owned));
    with_config(files, "auto_initramfs=1\n")
}

/// The boot partition of Ubuntu for 64 bits.
fn ubuntu() -> BootFiles {
    let mut files = raspios();
    for name in ["kernel8.img", "kernel_2712.img", "initramfs8"] {
        files.names.remove(name);
    }
    files.names.extend(["vmlinuz", "initrd.img"].map(str::to_owned));
    with_config(files, "kernel=vmlinuz\ninitramfs initrd.img followkernel\ncmdline=cmdline.txt\narm_64bit=1\n")
}

/// The names of the models that boot.
fn boots(files: &BootFiles) -> String {
    bootable(files).into_iter().map(Model::name).collect::<Vec<_>>().join(" ")
}

fn without(mut files: BootFiles, name: &str) -> BootFiles {
    assert!(files.names.remove(name), "{name}");
    files
}

fn with_config(mut files: BootFiles, text: &str) -> BootFiles {
    files.add_text("CONFIG.TXT", text.to_owned());
    files
}

#[test]
fn known_partitions_boot_the_boards_they_are_for() {
    let all = "pi3 pi3+ pi3a+ cm3 cm3+ zero2w pi4 pi400 cm4 cm4s pi5 pi500 cm5 cm5lite";
    assert_eq!(boots(&raspios()), all);
    assert_eq!(boots(&ubuntu()), all);
    assert_eq!(boots(&debian()), "pi3 pi3+ pi3a+ cm3 cm3+ zero2w pi4 pi400 cm4");
    assert_eq!(boots(&raspios_32()), format!("zerow pi2 {all}"));
}

#[test]
fn a_mainline_kernel_is_not_claimed_for_a_pi_5() {
    let mut files = debian();
    files.names.extend(["bcm2712-rpi-5-b.dtb", "bcm2712-rpi-cm5-cm5io.dtb"].map(str::to_owned));
    for model in [Model::Pi5, Model::Cm5] {
        let missing = check(&files, model);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].to_string().contains("`upstream_kernel=1` announces a mainline one"), "{}", missing[0]);
    }
}

#[test]
fn each_missing_file_is_named() {
    for (model, name) in [
        (Model::Pi3, "bootcode.bin"),
        (Model::Pi3, "start.elf"),
        (Model::Zero2W, "fixup.dat"),
        (Model::Pi4, "start4.elf"),
        (Model::Pi4, "fixup4.dat"),
        (Model::Pi4, "bcm2711-rpi-4-b.dtb"),
        (Model::Pi4, "vmlinuz-6.1"),
        (Model::Cm4, "initrd.img-6.1"),
        (Model::Pi400, "cmdline.txt"),
        (Model::Pi400, "config.txt"),
    ] {
        let missing = check(&without(debian(), name), model);
        let named = missing.iter().any(|missing| missing.names.iter().any(|missing| missing == name));
        // Without a configuration the kernel's name is not known either.
        assert!(named && (missing.len() == 1 || name == "config.txt"), "{model} without {name}: {missing:?}");
    }
    let missing = check(&without(debian(), "bcm2837-rpi-3-b.dtb"), Model::Pi3);
    assert_eq!(missing[0].to_string(), "`bcm2837-rpi-3-b.dtb` or `bcm2710-rpi-3-b.dtb` (the device tree)");
    assert_eq!(
        check(&without(without(raspios(), "kernel8.img"), "kernel_2712.img"), Model::Pi5)[0].names,
        ["kernel_2712.img", "kernel8.img"]
    );
}

#[test]
fn each_class_of_boards_lacks_files_of_its_own() {
    let partitions =
        [("debian", debian()), ("raspios", raspios()), ("raspios, 32 bits", raspios_32()), ("ubuntu", ubuntu())];
    for (name, files) in partitions {
        let old = &["zerow", "pi2", "pi3", "pi3+", "pi3a+", "cm3", "cm3+", "zero2w"][..];
        let all: Vec<&str> = Model::ALL.into_iter().map(Model::name).collect();
        for (gone, lost) in [
            ("bootcode.bin", old),
            ("start.elf", old),
            ("fixup.dat", old),
            ("start4.elf", &["pi4", "pi400", "cm4", "cm4s"]),
            ("fixup4.dat", &["pi4", "pi400", "cm4", "cm4s"]),
            ("bcm2710-rpi-3-b-plus.dtb", &["pi3+", "pi3a+"]),
            ("bcm2710-rpi-cm3.dtb", &["cm3", "cm3+"]),
            ("bcm2837-rpi-3-a-plus.dtb", &["pi3a+"]),
            ("bcm2712-rpi-cm5l-cm5io.dtb", &["cm5lite"]),
            ("bcm2711-rpi-4-b.dtb", &["pi4"]),
            ("bcm2712-rpi-5-b.dtb", &["pi5"]),
            ("bcm2710-rpi-3-b.dtb", &["pi3"]),
            ("cmdline.txt", &all),
        ] {
            // Debian's device trees have other names, and it boots no Pi 5.
            if !files.contains(gone) {
                continue;
            }
            let before = bootable(&files);
            let after = bootable(&without(files.clone(), gone));
            let missing: Vec<&str> =
                before.iter().filter(|model| !after.contains(model)).map(|model| model.name()).collect();
            let expected: Vec<&str> =
                before.iter().map(|model| model.name()).filter(|model| lost.contains(model)).collect();
            assert_eq!(missing, expected, "{name} without {gone}");
        }
    }
}

#[test]
fn boards_of_32_bits_are_not_claimed_for_a_kernel_of_64() {
    let files = with_config(raspios_32(), "arm_64bit=1\nkernel=kernel8.img\n");
    assert!(!boots(&files).contains("pi2 ") && boots(&files).contains("cm5"), "{}", boots(&files));
    let missing = check(&files, Model::Pi2);
    let expected = "`kernel7.img` or `kernel.img` (a kernel of 32 bits; `arm_64bit=1` announces one of 64, which this board cannot run)";
    assert_eq!(missing.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}

#[test]
fn each_kernel_of_32_bits_is_for_its_boards() {
    for (gone, lost) in [("kernel.img", &["zerow"][..]), ("kernel8.img", &["pi5", "pi500", "cm5", "cm5lite"])] {
        let after = bootable(&without(raspios_32(), gone));
        let missing: Vec<&str> =
            Model::ALL.iter().filter(|model| !after.contains(model)).map(|model| model.name()).collect();
        assert_eq!(missing, lost, "{gone}");
    }
    let all_32 = with_config(raspios_32(), "arm_64bit=0\n");
    let without_7 = without(without(all_32, "kernel7.img"), "kernel.img");
    assert_eq!(boots(&without_7), "pi5 pi500 cm5 cm5lite");
    assert_eq!(check(&without_7, Model::Pi4)[0].names, ["kernel7l.img", "kernel7.img", "kernel.img"]);
}

#[test]
fn sections_apply_to_their_boards() {
    for (text, model, kernel) in [
        ("[pi4]\nkernel=a\n[all]\n", Model::Pi400, "a"),
        ("[pi4]\nkernel=a\n[pi3]\nkernel=b\n", Model::Pi3Plus, "b"),
        ("kernel=a\n[pi3+]\nkernel=b\n", Model::Pi3, "a"),
        ("kernel=a\n[pi02]\nkernel=b\n", Model::Zero2W, "b"),
        ("kernel=a\n[none]\nkernel=b\n", Model::Pi4, "a"),
        ("kernel=a\n[EDID=X]\nkernel=b\n[all]\narm_64bit=1", Model::Pi4, "a"),
        ("kernel=a\n[gpio4=1]\n[pi4]\nkernel=b\n", Model::Pi4, "a"),
        ("Kernel = a\r\n[PI4]\r\nkernel=\r\nkernel=b\r\n", Model::Pi4, "b"),
        ("include user.txt\n", Model::Pi4, "included"),
    ] {
        let mut files = with_config(raspios(), text);
        files.names.extend(["a", "b", "included"].map(str::to_owned));
        files.add_text("user.txt", "kernel=included\ninclude user.txt".to_owned());
        assert_eq!(boot_plan(&files, model).unwrap().kernel, kernel, "{text}");
    }
}

#[test]
fn keys_choose_files() {
    let plan = boot_plan(&debian(), Model::Pi4).unwrap();
    assert_eq!(plan.initramfs, ["initrd.img-6.1"]);
    assert_eq!(plan.device_tree, "bcm2711-rpi-4-b.dtb");
    for (text, missing) in [
        ("arm_64bit=1\nstart_x=1\n", "start4x.elf"),
        ("arm_64bit=1\ngpu_mem=16\n", "fixup4cd.dat"),
        ("arm_64bit=1\nstart_file=my.elf\n", "my.elf"),
        ("arm_64bit=1\ncmdline=other.txt\n", "other.txt"),
        ("arm_64bit=1\ninitramfs a,b followkernel\n", "b"),
        ("arm_64bit=0\n", "kernel7l.img"),
        ("arm_64bit=1\ndevice_tree=my.dtb\n", "my.dtb"),
    ] {
        let found = check(&with_config(raspios(), text), Model::Pi4);
        assert!(found.iter().any(|found| found.names.iter().any(|name| name == missing)), "{text}: {found:?}");
    }
    assert!(check(&with_config(debian(), "arm_64bit=1\nkernel=vmlinuz-6.1\nstart_x=1"), Model::Pi3).is_empty());
}

#[test]
fn a_prefix_counts_if_it_leads_to_kernel_and_device_tree() {
    let files = with_config(raspios(), "arm_64bit=1\nos_prefix=next/\n");
    assert_eq!(boot_plan(&files, Model::Pi4).unwrap().kernel, "kernel8.img");
    let mut files = files;
    files.names.extend(["next/kernel8.img", "next/bcm2711-rpi-4-b.dtb"].map(str::to_owned));
    assert_eq!(check(&files, Model::Pi4)[0].names, ["next/cmdline.txt"]);
    files.names.insert("next/cmdline.txt".to_owned());
    let plan = boot_plan(&files, Model::Pi4).unwrap();
    assert_eq!((plan.kernel.as_str(), plan.cmdline.as_str()), ("next/kernel8.img", "next/cmdline.txt"));
    // Of another board there is no device tree.
    assert_eq!(boot_plan(&files, Model::Pi400).unwrap().cmdline, "cmdline.txt");
    assert_eq!(command_lines(&files, &[]).len(), 2);
    assert_eq!(command_lines(&files, &[Model::Pi4]), BTreeSet::from(["next/cmdline.txt".to_owned()]));
    assert_eq!(command_lines(&BootFiles::default(), &[]), BTreeSet::from(["cmdline.txt".to_owned()]));
}

#[test]
fn names_are_found_again() {
    for model in Model::ALL {
        assert_eq!(Model::from_name(model.name()), Some(model));
        assert_eq!(serde_json::to_value(model).unwrap(), model.name());
    }
    assert_eq!(Model::from_name("pi9"), None);
}

#[test]
fn files_that_include_each_other_come_to_an_end() {
    let all = format!("{}arm_64bit=1\n", "include a.txt\ninclude b.txt\ninclude config.txt\n".repeat(1000));
    let mut files = with_config(debian(), &all);
    files.add_text("a.txt", all.clone());
    files.add_text("b.txt", all);
    // Each of them read as often as it is included would be 27 thousand million lines.
    let config = Config::read(&files, &["pi4"]);
    assert_eq!(config.get("arm_64bit"), Some("1"));
}
