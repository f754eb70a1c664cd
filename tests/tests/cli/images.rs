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
            assert!(matches!(ran.code, Some(1 | USAGE)) && ran.stdout.is_empty(), "{command} {file}: {ran:?}");
            contains(&ran.stderr, &["error: ", "partition table"]);
        }
    }
}

#[test]
fn an_unknown_model_is_refused() {
    let (scratch, files) = no_images();
    for command in ["verify", "boot"] {
        assert_eq!(
            fails(&scratch, USAGE, &[command, "--model", "pi9", files[0]]),
            "error: there is no model `pi9`; piimg knows: zerow, pi2, pi3, pi3+, zero2w, pi4, pi400, cm4, pi5\n"
        );
    }
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
