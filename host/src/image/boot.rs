//! Starts an image in QEMU: the kernel and initramfs that its own boot partition names, the image as a disk whose
//! changes are thrown away.
//!
//! It stands for the part of a boot after the firmware: what `config.txt` asks of the hardware is not tried here.

mod console;
mod session;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

pub use session::Session;

use super::layout::{Bytes, Partition};
use super::models::{self, BootFiles, BootPlan, Model};
use super::parsing::{self, BootPartition};
use super::{assemble, descriptor_path, mbr};
use crate::error::{Context as _, Failure, Result};
use crate::sandbox::disk::Room;
use crate::sandbox::parser::Parser;
use crate::sandbox::tool::{Tool, find};

/// The emulator.
const QEMU: &str = "qemu-system-aarch64";

/// How an image is started.
#[derive(Clone, Debug)]
pub struct BootOptions {
    /// The board whose sections of `config.txt` choose the kernel; none takes the first that boots.
    pub model: Option<Model>,
    pub memory_mib: u32,
    pub cpus: u32,
    /// Port of this machine that reaches the image's port 22.
    pub ssh_port: Option<u16>,
    /// Length of the disk that the image sees, to watch its root file system grow; never shorter than the image.
    pub disk: Option<Bytes>,
    /// By what its boot partition is read.
    pub parser: Parser,
}

impl Default for BootOptions {
    fn default() -> Self {
        Self { model: None, memory_mib: 1024, cpus: 2, ssh_port: None, disk: None, parser: Parser::default() }
    }
}

/// Receives the serial console line by line.
pub type OnLine = Box<dyn FnMut(&str) + Send>;

/// Starts `image`; the machine is killed when the session is dropped.
///
/// The image is not changed. The session must stay on the thread that started it: the kernel kills the machine when
/// that thread ends.
///
/// # Errors
/// [`Failure::host`] if QEMU is missing, [`Failure::build`] if the image names no kernel.
pub fn boot(image: &File, options: &BootOptions, on_line: OnLine) -> Result<Session> {
    let table = mbr::read(image)?;
    let (_, partition) = table.boot().context("the image has no boot partition")?;
    let files = BootPartition::read(&options.parser, image, partition)?.boot_files();
    let plan = choose(&files, options.model)?;

    let temp = tempfile::tempdir().context("cannot make a temporary directory")?;
    let source = Source { parser: &options.parser, image, partition, temp: temp.path() };
    let (kernel, initramfs) = (temp.path().join("kernel"), temp.path().join("initramfs"));
    source.take_kernel(&plan.kernel, &kernel)?;
    if !plan.initramfs.is_empty() {
        // Several are concatenated, as the firmware does.
        #[expect(clippy::disallowed_methods, reason = "in a temporary directory of this process")]
        let mut out = File::create_new(&initramfs).context("cannot write the initramfs")?;
        source.copy("the initramfs", &plan.initramfs, &mut out)?;
    }
    let disk = disk(image, options.disk)?;
    let cmdline = kernel_arguments(files.text(&plan.cmdline).unwrap_or_default());
    let machine = Machine {
        kernel: &kernel,
        initramfs: (!plan.initramfs.is_empty()).then_some(initramfs.as_path()),
        disk: &descriptor_path(&disk),
        cmdline: &cmdline,
        cpu: cpu()?,
        kvm: native_kvm(),
    };
    let mut command = Tool::new(QEMU).args(machine.arguments(options)).command()?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Session::start(command, temp, disk, on_line)
}

/// The files with which the image starts on `model`, or on the first model that boots.
fn choose(files: &BootFiles, model: Option<Model>) -> Result<BootPlan> {
    let wanted = model.or_else(|| models::bootable(files).last().copied()).unwrap_or(Model::Pi4);
    models::boot_plan(files, wanted).map_err(|missing| {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        Failure::build(format!("the image does not boot a {wanted}: missing {}", missing.join(", "))).into()
    })
}

/// Where the files come from that QEMU starts, and where they go.
struct Source<'a> {
    parser: &'a Parser,
    image: &'a File,
    partition: &'a Partition,
    temp: &'a Path,
}

impl Source<'_> {
    /// No kernel or initramfs is longer; a hostile one would fill the disk.
    const LONGEST: Bytes = Bytes::mib(1024);

    fn room(&self, what: &str) -> Result<Room> {
        Room::new(self.temp, &self.temp.display().to_string(), what)
    }

    /// Copies files of the boot partition to `out`, one behind the other.
    fn copy(&self, what: &str, names: &[String], out: &mut File) -> Result<()> {
        let mut room = self.room(what)?;
        parsing::read_files(self.parser, self.image, self.partition, names, Self::LONGEST, &mut |_, data| {
            room.take(u64::try_from(data.len()).expect("a length fits 64 bits"))?;
            out.write_all(data).with_context(|| format!("cannot write {what}"))
        })
    }

    /// Copies the kernel out of the image; QEMU does not take a compressed one.
    fn take_kernel(&self, name: &str, path: &Path) -> Result<()> {
        let failed = || format!("cannot unpack the kernel `{name}`");
        let mut raw = tempfile::tempfile_in(self.temp).context("cannot make a temporary file")?;
        self.copy("the kernel", &[name.to_owned()], &mut raw)?;
        #[expect(clippy::disallowed_methods, reason = "in a temporary directory of this process")]
        let out = File::create_new(path).context("cannot write the kernel")?;
        parsing::unpack(self.parser, &raw, &out, Self::LONGEST, &mut self.room("the kernel")?).with_context(failed)
    }
}

/// The file that serves as disk: the image, or a sparse and longer copy of it.
fn disk(image: &File, wanted: Option<Bytes>) -> Result<File> {
    let length = Bytes(image.metadata().context("cannot read the image")?.len());
    let Some(wanted) = wanted.filter(|wanted| *wanted > length) else {
        return File::open(descriptor_path(image)).context("cannot open the image again");
    };
    let copy = tempfile::tempfile().context("cannot make a temporary file")?;
    copy.set_len(wanted.0).with_context(|| format!("cannot make a disk of {wanted}"))?;
    assemble::copy_extents(image, Bytes(0), length, &copy, Bytes(0)).context("cannot copy the image")?;
    Ok(copy)
}

/// The image's kernel arguments with the console turned to the virtual machine's.
fn kernel_arguments(cmdline: &str) -> String {
    // Everything that would send messages elsewhere or hold them back.
    let unwanted = |word: &str| {
        ["console=", "earlycon", "loglevel=", "plymouth."].iter().any(|start| word.starts_with(start))
            || matches!(word, "quiet" | "splash")
    };
    let first = cmdline.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    first.split_whitespace().filter(|word| !unwanted(word)).chain(["console=ttyAMA0"]).collect::<Vec<_>>().join(" ")
}

/// The processor nearest to a Pi's that the installed QEMU knows.
fn cpu() -> Result<&'static str> {
    let known = Tool::new(QEMU).args(["-machine", "virt", "-cpu", "help"]).run()?.stdout_text();
    let has = |name: &str| known.split_whitespace().any(|word| word == name);
    Ok(if has("cortex-a76") { "cortex-a76" } else { "cortex-a72" })
}

/// Whether this machine can run arm64 code itself.
#[expect(clippy::disallowed_methods, reason = "a device is opened, and no file is made")]
fn native_kvm() -> bool {
    cfg!(target_arch = "aarch64") && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// What the emulator is given.
#[derive(Debug)]
struct Machine<'a> {
    kernel: &'a Path,
    initramfs: Option<&'a Path>,
    disk: &'a Path,
    cmdline: &'a str,
    cpu: &'static str,
    kvm: bool,
}

impl Machine<'_> {
    fn arguments(&self, options: &BootOptions) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        add("-machine", "virt".into());
        if self.kvm {
            add("-accel", "kvm".into());
            add("-cpu", "host".into());
        } else {
            add("-accel", "tcg".into());
            add("-cpu", self.cpu.into());
        }
        add("-smp", options.cpus.to_string().into());
        add("-m", options.memory_mib.to_string().into());
        add("-kernel", self.kernel.into());
        if let Some(initramfs) = self.initramfs {
            add("-initrd", initramfs.into());
        }
        add("-append", self.cmdline.into());
        // A comma in a path would start the next option; it is written twice.
        let disk = self.disk.to_string_lossy().replace(',', ",,");
        add("-drive", format!("file={disk},format=raw,if=none,id=disk,snapshot=on").into());
        add("-device", "virtio-blk-pci,drive=disk".into());
        let forward = options.ssh_port.map_or_else(String::new, |port| format!(",hostfwd=tcp:127.0.0.1:{port}-:22"));
        add("-netdev", format!("user,id=net{forward}").into());
        // Nothing is booted from the network: the card needs no boot ROM, which is in a package that QEMU only recommends.
        add("-device", "virtio-net-pci,netdev=net,romfile=".into());
        // Without entropy the first start of an image waits for its host keys.
        add("-device", "virtio-rng-pci".into());
        add("-serial", "stdio".into());
        add("-display", "none".into());
        add("-monitor", "none".into());
        arguments.extend(["-nodefaults".into(), "-no-reboot".into()]);
        arguments
    }
}

/// How long an image may take to a login prompt where every instruction is emulated.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(600);

/// Whether the emulator is installed.
pub fn available() -> bool {
    find(QEMU).is_some()
}
