//! Starts an image in QEMU: the kernel and initramfs that its own boot partition names, the image as a disk whose
//! changes are thrown away.
//!
//! It stands for the part of a boot after the firmware: what `config.txt` asks of the hardware is not tried here. The image
//! may be anybody's, and QEMU is large: it runs confined (`machine.rs`), so that a hole in it leads to this very image.

mod board;
mod console;
mod machine;
mod session;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

pub use board::Board;
use machine::Machine;
pub use session::Session;

use super::layout::{Bytes, Partition};
use super::models::{self, BootFiles, BootPlan, Model};
use super::parsing::{self, BootPartition};
use super::{assemble, descriptor_path, source, temporary_place};
use crate::error::{Context as _, Failure, Result};
use crate::sandbox::free_space::Room;
use crate::sandbox::parser::Parser;
use crate::sandbox::tool::find;
use crate::ui::Printable as _;

/// The emulator.
pub const QEMU: &str = "qemu-system-aarch64";

/// Models whose sections of `config.txt` count if nobody says which, the first that boots.
const USUAL: [Model; 3] = [Model::Pi5, Model::Pi4, Model::Pi3];

/// Options for starting an image.
#[derive(Clone, Debug)]
pub struct BootOptions {
    /// The board whose sections of `config.txt` choose the kernel; without one, the newest of the usual ones that boots.
    pub model: Option<Model>,
    pub board: Board,
    pub memory_mib: u32,
    pub cpus: u32,
    /// Port of this machine that reaches the image's port 22.
    pub ssh_port: Option<u16>,
    /// Whether the image reaches what this machine does: the network, and the services on its loopback. Without, it has a
    /// network card and an address, and nobody to talk to but who connects to its ssh.
    pub network: bool,
    /// Length of the disk that the image sees, to watch its root file system grow; never shorter than the image.
    pub disk: Option<Bytes>,
    /// Parser that reads its boot partition.
    pub parser: Parser,
}

impl Default for BootOptions {
    fn default() -> Self {
        Self {
            model: None,
            board: Board::default(),
            memory_mib: 1024,
            cpus: 2,
            ssh_port: None,
            network: false,
            disk: None,
            parser: Parser::default(),
        }
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
    let table = source::table(image, &options.parser)?;
    let (_, partition) = table.boot().context("the image has no boot partition")?;
    let files = BootPartition::read(&options.parser, image, partition)?.boot_files();
    let board = options.board;
    check(options)?;
    let plan = choose(&files, options.model.or(board.model()))?;

    let place = temporary_place();
    let temp = tempfile::tempdir_in(&place).with_context(|| {
        Failure::host(format!("cannot make a temporary directory in `{}`", place.printable()))
            .hint("set TMPDIR to a directory that you can write to")
    })?;
    let source = Source { parser: &options.parser, image, partition, temp: temp.path() };
    let (kernel, initramfs) = (temp.path().join("kernel"), temp.path().join("initramfs"));
    source.take_kernel(&plan.kernel, &kernel)?;
    if !plan.initramfs.is_empty() {
        // Several are concatenated, as the firmware does.
        #[expect(clippy::disallowed_methods, reason = "in a temporary directory of this process")]
        let mut out = File::create_new(&initramfs).context("cannot write the initramfs")?;
        source.copy("the initramfs", &plan.initramfs, &mut out)?;
    }
    let device_tree = board.model().map(|_| temp.path().join("tree"));
    if let Some(path) = &device_tree {
        #[expect(clippy::disallowed_methods, reason = "in a temporary directory of this process")]
        let mut out = File::create_new(path).context("cannot write the device tree")?;
        source.copy("the device tree", std::slice::from_ref(&plan.device_tree), &mut out)?;
    }
    let disk = disk(image, options, &place)?;
    let cmdline = kernel_arguments(files.text(&plan.cmdline).unwrap_or_default(), board.console(&plan.device_tree));
    let machine = Machine {
        board,
        device_tree: device_tree.as_deref().map(|path| (path, plan.device_tree.as_str())),
        kernel: &kernel,
        initramfs: (!plan.initramfs.is_empty()).then_some(initramfs.as_path()),
        disk: &disk,
        cmdline: &cmdline,
        temp: temp.path(),
        cpu: machine::cpu()?,
        kvm: machine::native_kvm(),
    };
    let emulator = machine.confined(options)?;
    Session::start(emulator.start()?, emulator.bounds(), temp, disk, on_line)
}

/// Returns the files with which the image starts on `model`, or on the first model that boots.
fn choose(files: &BootFiles, model: Option<Model>) -> Result<BootPlan> {
    let bootable = models::bootable(files);
    let usual = USUAL.into_iter().find(|usual| bootable.contains(usual));
    let wanted = model.or(usual).or_else(|| bootable.last().copied()).unwrap_or(Model::Pi4);
    models::boot_plan(files, wanted).map_err(|missing| {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        Failure::build(format!("the image does not boot a {wanted}: missing {}", missing.join(", "))).into()
    })
}

/// The files that QEMU starts, and the directory for their copies.
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
        Room::new(self.temp, &self.temp.printable(), what)
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

/// Returns the file that serves as disk: the image, or a sparse and longer copy of it.
fn disk(image: &File, options: &BootOptions, place: &Path) -> Result<File> {
    let length = Bytes(image.metadata().context("cannot read the image")?.len());
    let wanted = options.board.disk(options.disk.unwrap_or(length).max(length));
    if wanted == length {
        return File::open(descriptor_path(image)).context("cannot open the image again");
    }
    let copy = tempfile::tempfile_in(place).context("cannot make a temporary file")?;
    copy.set_len(wanted.0).with_context(|| format!("cannot make a disk of {wanted}"))?;
    assemble::copy_extents(image, Bytes(0), length, &copy, Bytes(0)).context("cannot copy the image")?;
    Ok(copy)
}

/// Refuses what the board is not.
fn check(options: &BootOptions) -> Result<()> {
    let name = options.board.name();
    if let (Some(own), Some(wanted)) = (options.board.model(), options.model)
        && own != wanted
    {
        return Err(Failure::usage(format!("the machine `{name}` is a {own}, not a {wanted}")).into());
    }
    if let Some(own) = options.board.memory().filter(|own| *own != options.memory_mib) {
        let text = format!("the machine `{name}` has {own} MiB of memory, not {}", options.memory_mib);
        return Err(Failure::usage(text).hint("leave out --memory").into());
    }
    Ok(())
}

/// Returns the image's kernel arguments with the console turned to the virtual machine's.
fn kernel_arguments(cmdline: &str, console: &str) -> String {
    // Everything that would send messages elsewhere or hold them back.
    let unwanted = |word: &str| {
        ["console=", "earlycon", "loglevel=", "plymouth."].iter().any(|start| word.starts_with(start))
            || matches!(word, "quiet" | "splash")
    };
    let first = cmdline.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let console = format!("console={console}");
    first.split_whitespace().filter(|word| !unwanted(word)).chain([console.as_str()]).collect::<Vec<_>>().join(" ")
}

/// Time limit for a login prompt where every instruction is emulated.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(600);

/// Returns whether the emulator is installed.
pub fn available() -> bool {
    find(QEMU).is_some()
}
