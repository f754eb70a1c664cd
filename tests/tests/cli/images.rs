//! `piimg verify`, `boot` and `inspect` of files that are no image.

use super::*;

/// Files that are no image, by name.
fn no_images() -> (Scratch, [&'static str; 4]) {
    let scratch = with_guests(&["panics"]);
    scratch.write("empty.img", "");
    scratch.write("text.img", "hello\n");
    scratch.write("zeros.img", vec![0; 1 << 20]);
    (scratch, ["empty.img", "text.img", "zeros.img", "panics.wasm"])
}

#[test]
fn verify_reports_a_missing_table_as_finding() {
    let (scratch, files) = no_images();
    for file in files {
        let ran = scratch.run(["verify", file]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{file}");
        assert!(ran.stdout.starts_with("FAILED   partition table: "), "{}", ran.stdout);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        let ran = scratch.run(["verify", "--json", file]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, &report["checks"][0]["outcome"]), (Some(1), &Value::from("failed")));
    }
}

#[test]
fn inspect_and_boot_refuse_what_is_no_image() {
    let (scratch, files) = no_images();
    for file in files {
        for command in ["inspect", "boot"] {
            if (command, file) == ("inspect", "panics.wasm") {
                continue;
            }
            let ran = scratch.run([command, file]);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(USAGE), ""), "{command} {file}: {ran:?}");
            let cause = match file {
                "empty.img" => "it is empty",
                "panics.wasm" => "it is a plugin, or another program of WebAssembly",
                _ => "it is neither an image with a partition table nor a tar archive",
            };
            contains(&ran.stderr, &["error: ", cause, "hint: "]);
        }
    }
}

#[test]
fn an_unknown_model_is_refused() {
    let (scratch, files) = no_images();
    for command in ["verify", "boot"] {
        assert_eq!(
            fails(&scratch, USAGE, &[command, "--model", "pi9", files[0]]),
            "error: there is no model `pi9`; piimg knows: zerow, pi2, pi3, pi3+, pi3a+, cm3, cm3+, zero2w, pi4, \
             pi400, cm4, cm4s, pi5, pi500, cm5, cm5lite\n"
        );
    }
}

#[test]
fn an_unknown_machine_is_refused() {
    let (scratch, files) = no_images();
    assert_eq!(
        fails(&scratch, USAGE, &["boot", "--machine", "raspi9", files[0]]),
        "error: there is no machine `raspi9`; piimg knows: virt, raspi3b\n"
    );
}

#[test]
fn what_is_no_image_is_named() {
    let (scratch, _) = no_images();
    for command in ["inspect", "boot"] {
        for file in ["empty.img", "text.img", "zeros.img"] {
            let ran = scratch.run([command, file]);
            contains(&ran.stderr, &[file]);
            assert!(!ran.stderr.contains("fill whole buffer"), "{ran:?}");
        }
    }
}

#[test]
fn a_pipe_is_no_image() {
    let scratch = Scratch::new();
    nix::unistd::mkfifo(&scratch.path("pipe.img"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for command in ["inspect", "verify", "boot"] {
        let said = fails(&scratch, USAGE, &[command, "pipe.img"]);
        contains(&said, &["cannot open the image `pipe.img`", "hint: it must be a file, or a disk"]);
    }
}

/// A table and a FAT32 of a few clusters whose top directory leads back into itself.
#[test]
fn a_chain_that_leads_back_is_told() {
    let mut image = vec![0; 200 << 10];
    image[446 + 4] = 0x0c;
    image[446 + 8..][..8].copy_from_slice(&[1, 0, 0, 0, 200, 0, 0, 0]);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    let fat = &mut image[512..];
    fat[11..17].copy_from_slice(&[0, 2, 1, 1, 0, 1]);
    fat[32..40].copy_from_slice(&[100, 0, 0, 0, 1, 0, 0, 0]);
    fat[44] = 2;
    fat[510..512].copy_from_slice(&[0x55, 0xaa]);
    fat[512 + 8] = 2;
    fat[1024..1024 + 12].copy_from_slice(b"\xe5REMOVED    ");
    let scratch = Scratch::new();
    scratch.write("loop.img", image);
    let told = "`/` on the boot partition has clusters that lead back into it, are another file's or are none";
    contains(&fine(&scratch, &["inspect", "loop.img"]), &[&format!("unreadable  {told}")]);
    let ran = scratch.run(["boot", "loop.img"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    contains(&ran.stderr, &["error: `loop.img` is not a Raspberry Pi image that piimg understands", told]);
}
