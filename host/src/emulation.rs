//! Runs programs of another architecture during a build.
//!
//! Emulating every process is what makes foreign builds slow. Where it can, piimg registers a handler of its own
//! (`emulation/handler.rs`) that runs a native build of the same program, if the build has laid one out for it, and qemu-user
//! otherwise.
//!
//! The handler is registered in a `binfmt_misc` of the build's own user namespace: the host's entries are
//! neither used nor changed, and another process that changes them does not disturb a running build.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Result};
use crate::sandbox::{mounts, tool};
use crate::ui::Printable as _;

/// The program of `emulation/handler.rs`.
pub static HANDLER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/handler"));

const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// The way to recognise and run an architecture's programs.
struct Foreign {
    debian: &'static str,
    qemu: &'static str,
    /// `e_machine` of its ELF header, little endian, and the ELF class: 1 for 32 bit, 2 for 64.
    machine: u8,
    class: u8,
}

const FOREIGN: [Foreign; 3] = [
    Foreign { debian: "arm64", qemu: "qemu-aarch64-static", machine: 0xb7, class: 2 },
    Foreign { debian: "armhf", qemu: "qemu-arm-static", machine: 0x28, class: 1 },
    Foreign { debian: "amd64", qemu: "qemu-x86_64-static", machine: 0x3e, class: 2 },
];

/// The way to run programs of another architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Native tools where this host and kernel can, plain emulation otherwise.
    #[default]
    Auto,
    /// Native tools, or an error.
    NativeTools,
    /// qemu-user for every program.
    Plain,
}

/// Returns Debian's name of this machine's architecture.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armhf",
        other => other,
    }
}

/// Returns the program needed to run `architecture` here, if any.
///
/// # Errors
/// [`Failure::usage`] if piimg does not know the architecture.
pub fn emulator(architecture: &str) -> Result<Option<&'static str>> {
    if architecture == host_architecture() {
        return Ok(None);
    }
    let foreign = find(architecture)?;
    Ok(Some(foreign.qemu))
}

fn find(architecture: &str) -> Result<&'static Foreign> {
    FOREIGN
        .iter()
        .find(|foreign| foreign.debian == architecture)
        .ok_or_else(|| Failure::usage(format!("piimg cannot run programs of the architecture `{architecture}`")).into())
}

/// Mounts a `binfmt_misc` of this user namespace; false if the kernel has none (before Linux 6.7).
///
/// # Privileges
/// Uid 0 of the private namespace.
pub fn mount_private() -> bool {
    match mounts::mount(Some("binfmt_misc"), Path::new(BINFMT), Some("binfmt_misc"), MsFlags::empty(), None) {
        // A second mount of the one that this namespace has is refused.
        Ok(()) | Err(nix::errno::Errno::EBUSY) => true,
        Err(_) => false,
    }
}

/// Registers qemu-user itself for `architecture`.
///
/// # Errors
/// [`Failure::host`] if it is missing or the kernel refuses.
pub fn register_emulator(architecture: &str) -> Result<()> {
    register(find(architecture)?, &emulator_path(architecture)?)
}

/// Registers the handler that prefers native tools.
///
/// # Errors
/// [`Failure::host`] if the kernel refuses.
pub fn register_handler(architecture: &str) -> Result<()> {
    let handler = Path::new("/build/handler");
    fs::write(handler, HANDLER).context("cannot write the handler")?;
    fs::set_permissions(handler, fs::Permissions::from_mode(0o755)).context("cannot write the handler")?;
    register(find(architecture)?, handler)
}

/// Returns the path of qemu-user for `architecture` on this host.
///
/// # Errors
/// [`Failure::host`] if it is missing.
pub fn emulator_path(architecture: &str) -> Result<PathBuf> {
    let program = find(architecture)?.qemu;
    Ok(tool::find(program).ok_or_else(|| tool::missing(program))?)
}

/// Returns whether the host itself runs programs of `architecture`: kernels before 6.7 have one `binfmt_misc` for all,
/// and what is registered there works inside too. To be asked outside of the private namespace, whose `/proc` is
/// another.
pub fn is_registered_on_host(architecture: &str) -> bool {
    let Ok(foreign) = find(architecture) else { return false };
    let entry = Path::new(BINFMT).join(foreign.qemu.trim_end_matches("-static"));
    let text = fs::read_to_string(entry).unwrap_or_default();
    // `F`: the emulator is opened at registration and need not be in the image.
    let fixed = text.lines().any(|line| line.strip_prefix("flags:").is_some_and(|flags| flags.contains('F')));
    text.starts_with("enabled") && fixed
}

/// Takes back the registration of `architecture`.
///
/// # Errors
/// If it is not registered.
pub fn unregister(architecture: &str) -> Result<()> {
    // What the kernel takes as "remove", says its Documentation/admin-guide/binfmt-misc.rst.
    fs::write(Path::new(BINFMT).join(find(architecture)?.debian), "-1").context("cannot take back the registration")
}

fn register(foreign: &Foreign, interpreter: &Path) -> Result<()> {
    let line = registration(foreign, &interpreter.to_string_lossy());
    fs::write(Path::new(BINFMT).join("register"), line)
        .with_context(|| Failure::host(format!("cannot register `{}` for this build", interpreter.printable())))
}

/// Returns the line for `register`: `:name:M:offset:magic:mask:interpreter:flags`, as in the kernel's
/// `Documentation/admin-guide/binfmt-misc.rst`.
fn registration(foreign: &Foreign, interpreter: &str) -> String {
    let hex = |bytes: [u8; 20]| -> String { bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect() };
    let mut magic = [0; 20];
    magic[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', foreign.class, 1, 1]);
    // e_type: 2 is an executable, 3 a position-independent one; the mask ignores the difference.
    magic[16] = 2;
    magic[18] = foreign.machine;
    let mut mask = [0xff; 20];
    // The OS ABI and its version vary; padding is not compared.
    mask[7..16].fill(0);
    mask[16] = 0xfe;
    // P: the program keeps its own argv[0]. F: the interpreter is opened now, so that it need not exist in the image.
    format!(":{}:M::{}:{}:{interpreter}:PF", foreign.debian, hex(magic), hex(mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registration_matches_an_elf_header() {
        let line = registration(find("arm64").unwrap(), "/q");
        let fields: Vec<&str> = line.split(':').collect();
        assert_eq!(fields[1..4], ["arm64", "M", ""]);
        assert_eq!(fields[4], r"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00");
        assert_eq!(fields[5], r"\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\xff");
        assert_eq!(fields[6..], ["/q", "PF"]);
    }

    #[test]
    fn an_unknown_architecture_is_named() {
        let error = emulator("m68k").unwrap_err();
        assert_eq!(error.to_string(), "piimg cannot run programs of the architecture `m68k`");
    }

    #[test]
    fn nothing_is_needed_for_the_hosts_own_programs() {
        assert_eq!(emulator(host_architecture()).unwrap(), None);
    }
}
