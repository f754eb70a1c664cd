//! `piimg doctor`.

use super::*;

#[test]
fn a_comparison_of_nothing_foreign_is_refused() {
    let scratch = Scratch::new();
    let compare = ["doctor", "--compare-emulation", "--package", "dash", "--arch"];
    let host = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let stderr = fails(&scratch, USAGE, &[&compare[..], &[host]].concat());
    assert_eq!(stderr, format!("error: this machine runs {host} programs by itself\n"));
    let stderr = fails(&scratch, USAGE, &[&compare[..], &["m68k"]].concat());
    assert_eq!(stderr, "error: piimg cannot run programs of the architecture `m68k`\n");
    let stderr = fails(&scratch, USAGE, &["doctor", "--compare-emulation", "--arch", "armhf"]);
    assert_eq!(stderr, "error: Debian 13 has no architecture `armhf` here; it has: arm64\n");
    let stderr = fails(&scratch, USAGE, &["doctor", "--compare-emulation", "--release", "sarge"]);
    contains(&stderr, &["error: there is no release `sarge`"]);
    let stderr = fails(&scratch, USAGE, &["doctor", "--arch", "armhf"]);
    contains(&stderr, &["--compare-emulation"]);
}
