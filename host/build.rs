//! Builds the small static program that the kernel starts for foreign programs during a build
//! (`src/emulation/handler.rs`), so that piimg stays one file.

use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "src/emulation/handler.rs";

#[expect(clippy::disallowed_methods, reason = "a build script starts the compiler")]
fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let var = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let output = PathBuf::from(var("OUT_DIR")).join("handler");
    let status = Command::new(var("RUSTC"))
        .args(["--edition=2024", "--crate-type=bin", "--crate-name=handler", SOURCE, "--target"])
        .arg(var("TARGET"))
        // Static: it runs in the image, which has no libraries of this architecture.
        .args([
            "-Ctarget-feature=+crt-static",
            "-Crelocation-model=static",
            "-Cpanic=abort",
            "-Copt-level=2",
            "-Cstrip=symbols",
        ])
        .arg("-o")
        .arg(&output)
        .status()
        .expect("rustc can be started");
    assert!(status.success(), "the handler for foreign programs does not compile");
}
