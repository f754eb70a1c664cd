//! Builds the small static program that the kernel starts for foreign programs during a build
//! (`src/emulation/handler.rs`), so that piimg stays one file.

use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "src/emulation/handler.rs";

#[expect(clippy::disallowed_methods, reason = "a build script starts the compiler")]
fn main() {
    for source in [SOURCE, "src/emulation/handler"] {
        println!("cargo::rerun-if-changed={source}");
    }
    let var = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let output = PathBuf::from(var("OUT_DIR")).join("handler");
    if var("CARGO_CFG_TARGET_ARCH") != "x86_64" {
        // Only amd64 hosts have native tools (`steps/native_tools.rs`).
        std::fs::write(&output, "").expect("the output directory can be written to");
        return;
    }
    let status = Command::new(var("RUSTC"))
        .args(["--edition=2024", "--crate-type=bin", "--crate-name=handler", SOURCE, "--target"])
        .arg(var("TARGET"))
        // Without the C library: a page of code that starts at once. Static: it runs in the image, which has no
        // libraries of this architecture.
        .args(["-Clink-args=-nostartfiles -nostdlib -static -Wl,--build-id=none,-z,noseparate-code"])
        .args(["-Crelocation-model=static", "-Cpanic=abort", "-Copt-level=s", "-Cstrip=symbols"])
        .arg("-o")
        .arg(&output)
        .status()
        .expect("rustc can be started");
    assert!(status.success(), "the handler for foreign programs does not compile");
}
