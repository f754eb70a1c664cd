//! Device trees: offsets and lengths of anybody's choice, of which none leads out of the file.

use piimg::rootfs::device_tree::DeviceTree;

use super::patched::patched;
use crate::device_tree::device_tree;

fn whole() -> Vec<u8> {
    device_tree(&[
        ("soc", &[("compatible", b"simple-bus\0")]),
        ("__symbols__", &[("gpio", b"/soc/gpio\0"), ("i2c1", b"/soc/i2c\0")]),
        ("__overrides__", &[("spi", b"\0\0\0\x01status\0")]),
        ("__fixups__", &[("uart0", b"/fragment@0:target:0\0")]),
        ("vc4-kms-v3d", &[("bcm2835", b""), ("bcm2711", b"vc4-kms-v3d-pi4\0")]),
    ])
}

pub(super) fn check(data: &[u8]) -> bool {
    let bytes = patched(&whole(), data);
    let Some(tree) = DeviceTree::parse(&bytes) else { return false };
    let names = [&tree.symbols, &tree.overrides, &tree.needs].into_iter().flatten();
    // What it says is in the file, and a name ends where the file has a zero.
    assert!(names.chain(tree.renamed.keys()).all(|name| bytes.windows(name.len() + 1).any(|at| at.ends_with(b"\0"))));
    if bytes == whole() {
        assert_eq!(Vec::from_iter(&tree.symbols), ["gpio", "i2c1"]);
        assert_eq!(Vec::from_iter(&tree.overrides), ["spi"]);
        assert_eq!(Vec::from_iter(&tree.needs), ["uart0"]);
        assert_eq!(Vec::from_iter(&tree.renamed["vc4-kms-v3d"]), ["vc4-kms-v3d", "vc4-kms-v3d-pi4"]);
    }
    true
}
