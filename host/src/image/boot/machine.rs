//! Makes the emulator's arguments, and confines it.
//!
//! It opens its own programs, libraries and firmware, the image, and one directory that goes with it, where it keeps what the
//! image writes. It starts nothing, and connects to nobody unless the image was given the network: the one port that leads
//! to the image is a socket that others connect to.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use super::board::{Board, is_mainline};
use super::{BootOptions, QEMU};
use crate::error::{Context as _, Result};
use crate::sandbox::confined::{Confined, Limits, Sockets};
use crate::sandbox::free_space::Free;
use crate::sandbox::tool::Tool;

/// Memory beside that of the machine: a gigabyte of translated code, and the emulator itself.
const OWN_MEMORY: u64 = 3 << 30;

/// QEMU's own filter, which does not wait for others to be installed and is made with it.
const OWN_FILTER: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

const KVM: &str = "/dev/kvm";

/// Inputs of the emulator.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub board: Board,
    pub kernel: &'a Path,
    /// Device tree for a board without one of its own, and its name in the image.
    pub device_tree: Option<(&'a Path, &'a str)>,
    pub initramfs: Option<&'a Path>,
    pub disk: &'a File,
    pub cmdline: &'a str,
    /// Directory with the kernel and everything that the machine writes.
    pub temp: &'a Path,
    pub cpu: &'static str,
    pub kvm: bool,
}

impl Machine<'_> {
    /// Returns the emulator, ready to be started.
    ///
    /// # Errors
    /// If the image cannot be opened again, or nobody knows what is left of the disk.
    pub(super) fn confined(&self, options: &BootOptions) -> Result<Confined> {
        let program = Confined::new(QEMU, &[self.disk])?;
        let disk = program.place(0);
        let program = program
            .args(self.arguments(&disk, options))
            .env("TMPDIR", self.temp)
            .writing_to(self.temp)
            .with_sockets(sockets(options))
            .within(self.limits(options)?);
        Ok(if self.kvm { program.accelerated_by(Path::new(KVM)) } else { program })
    }

    fn limits(&self, options: &BootOptions) -> Result<Limits> {
        let failed = "cannot ask how much is free on the disk";
        let free = Free::at(File::open(self.temp).context(failed)?).context(failed)?.usable().bytes;
        let length = self.disk.metadata().context("cannot read the image")?.len();
        // What was written, and by how much its table of blocks is longer.
        let written = length + length / 8 + (64 << 20);
        let memory = (u64::from(options.memory_mib) << 20) + OWN_MEMORY;
        Ok(Limits { time: None, memory, file: written.min(free), ..Limits::USUAL })
    }

    pub(super) fn arguments(&self, disk: &Path, options: &BootOptions) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        add("-sandbox", OWN_FILTER.into());
        add("-machine", self.board.name().into());
        add("-m", options.memory_mib.to_string().into());
        add("-kernel", self.kernel.into());
        if let Some(initramfs) = self.initramfs {
            add("-initrd", initramfs.into());
        }
        add("-append", self.cmdline.into());
        // A comma in a path would start the next option; it is written twice.
        let disk = disk.to_string_lossy().replace(',', ",,");
        let disk = format!("file={disk},format=raw,snapshot=on");
        add("-netdev", network(options).into());
        add("-display", "none".into());
        add("-monitor", "none".into());
        arguments.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(OsString::from));
        arguments.extend(match self.board {
            Board::Virt => self.virt(&disk, options),
            Board::Raspi3b => self.raspi3b(&disk),
        });
        arguments
    }

    fn virt(&self, disk: &str, options: &BootOptions) -> Vec<OsString> {
        let (accelerator, cpu) = if self.kvm { ("kvm", "host") } else { ("tcg", self.cpu) };
        let (cpus, disk) = (options.cpus.to_string(), format!("{disk},if=none,id=disk"));
        let arguments = [
            ["-accel", accelerator],
            ["-cpu", cpu],
            ["-smp", &cpus],
            ["-drive", &disk],
            ["-device", "virtio-blk-pci,drive=disk"],
            // Nothing is booted from the network: the card needs no boot ROM, which is in a package that QEMU only recommends.
            ["-device", "virtio-net-pci,netdev=net,romfile="],
            // Without entropy the first start of an image waits for its host keys.
            ["-device", "virtio-rng-pci"],
            ["-serial", "stdio"],
        ];
        arguments.iter().flatten().map(OsString::from).collect()
    }

    /// Returns the arguments of a Pi 3. QEMU fixes its processors, and it has one bus, which its network is on.
    fn raspi3b(&self, disk: &str) -> Vec<OsString> {
        let disk = format!("{disk},if=sd");
        let (tree, name) = self.device_tree.expect("it was copied for this board");
        // The first line is the better one; mainline's device tree gives it to Bluetooth.
        let lines = if is_mainline(name) { ["null", "stdio"] } else { ["stdio", "null"] };
        let arguments = [
            ["-accel", "tcg"],
            ["-drive", &disk],
            ["-device", "usb-net,netdev=net"],
            ["-serial", lines[0]],
            ["-serial", lines[1]],
        ];
        let arguments = arguments.iter().flatten().map(OsString::from);
        ["-dtb".into(), tree.into()].into_iter().chain(arguments).collect()
    }
}

/// Returns the network of the card: QEMU's own, from which nothing gets out unless that is wanted.
fn network(options: &BootOptions) -> String {
    let restrict = if options.network { "" } else { ",restrict=on" };
    let forward = options.ssh_port.map_or_else(String::new, |port| format!(",hostfwd=tcp:127.0.0.1:{port}-:22"));
    format!("user,id=net{restrict}{forward}")
}

fn sockets(options: &BootOptions) -> Sockets {
    match (options.network, options.ssh_port) {
        (true, _) => Sockets::All,
        (false, Some(port)) => Sockets::Listening(port),
        (false, None) => Sockets::Dead,
    }
}

/// Returns the processor nearest to a Pi's that the installed QEMU knows.
pub(super) fn cpu() -> Result<&'static str> {
    let known = Tool::new(QEMU).args(["-machine", "virt", "-cpu", "help"]).run()?.stdout_text();
    let has = |name: &str| known.split_whitespace().any(|word| word == name);
    Ok(if has("cortex-a76") { "cortex-a76" } else { "cortex-a72" })
}

/// Returns whether this machine can run arm64 code itself.
#[expect(clippy::disallowed_methods, reason = "a device is opened, and no file is made")]
pub(super) fn native_kvm() -> bool {
    cfg!(target_arch = "aarch64") && File::options().read(true).write(true).open(KVM).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::super::{OnLine, Session};
    use super::*;
    use crate::sandbox::tool::Output;
    use crate::ui::Printable as _;

    /// A kernel of ten instructions: it writes a line to the serial port of the machine, and turns it off by PSCI.
    const KERNEL: [u32; 10] = [
        0xd2a1_2001, // movz x1, #0x900, lsl #16
        0x1000_0122, // adr x2, the text behind
        0x3840_1443, // ldrb w3, [x2], #1
        0x3400_0063, // cbz w3, to the end
        0xb900_0023, // str w3, [x1]
        0x17ff_fffd, // b, to the next letter
        0xd2b0_8000, // movz x0, #0x8400, lsl #16
        0xf280_0100, // movk x0, #8
        0xd400_0002, // hvc #0
        0x1400_0000, // b .
    ];
    const TEXT: &str = "this machine runs\n\0";

    struct Fixture {
        temp: tempfile::TempDir,
        disk: File,
    }

    impl Fixture {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let code: Vec<u8> = KERNEL.iter().flat_map(|word| word.to_le_bytes()).chain(TEXT.bytes()).collect();
            std::fs::write(temp.path().join("kernel"), code).unwrap();
            // As that of whoever inspects an image: it may only be read.
            let path = temp.path().join("disk");
            std::fs::write(&path, vec![7; 1 << 20]).unwrap();
            Self { disk: File::open(path).unwrap(), temp }
        }

        fn machine(&self, options: &BootOptions) -> Confined {
            let kernel = self.temp.path().join("kernel");
            let machine = Machine {
                board: Board::Virt,
                device_tree: None,
                kernel: &kernel,
                initramfs: None,
                disk: &self.disk,
                cmdline: "x",
                temp: self.temp.path(),
                cpu: cpu().unwrap(),
                kvm: native_kvm(),
            };
            machine.confined(options).unwrap()
        }

        /// What comes of a machine with something more.
        fn with(&self, more: &[&str]) -> Output {
            self.machine(&OPTIONS()).args(more).output().unwrap()
        }
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    const OPTIONS: fn() -> BootOptions = || BootOptions { memory_mib: 128, cpus: 1, ..BootOptions::default() };

    #[test]
    fn the_disk_is_never_written_and_paths_are_quoted() {
        let fixture = Fixture::new();
        let mut machine = Machine {
            board: Board::Virt,
            device_tree: None,
            kernel: Path::new("/k"),
            initramfs: None,
            disk: &fixture.disk,
            cmdline: "x",
            temp: fixture.temp.path(),
            cpu: "cortex-a72",
            kvm: false,
        };
        let text_of = |machine: &Machine<'_>, options: &BootOptions| -> Vec<String> {
            let arguments = machine.arguments(Path::new("/a,b"), options).into_iter();
            arguments.map(|argument| argument.into_string().unwrap()).collect()
        };
        let text = |options: &BootOptions| text_of(&machine, options);
        let listening = text(&BootOptions { ssh_port: Some(2222), ..BootOptions::default() });
        assert!(listening.contains(&"file=/a,,b,format=raw,snapshot=on,if=none,id=disk".to_owned()), "{listening:?}");
        let forward = "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22".to_owned();
        assert!(listening.contains(&forward), "{listening:?}");
        let alone = text(&BootOptions::default());
        assert!(alone.contains(&"user,id=net,restrict=on".to_owned()), "{alone:?}");
        assert!(!alone.contains(&"-initrd".to_owned()) && alone.contains(&"-no-reboot".to_owned()));
        let everywhere = text(&BootOptions { network: true, ..BootOptions::default() });
        assert!(everywhere.contains(&"user,id=net".to_owned()), "{everywhere:?}");

        machine.board = Board::Raspi3b;
        for (tree, console, lines) in
            [("bcm2837-rpi-3-b.dtb", "ttyS1", ["null", "stdio"]), ("bcm2710-rpi-3-b.dtb", "ttyAMA0", ["stdio", "null"])]
        {
            machine.device_tree = Some((Path::new("/t"), tree));
            let pi = text_of(&machine, &BootOptions { ssh_port: Some(2222), ..BootOptions::default() });
            let after = |name: &str| -> Vec<&str> {
                pi.windows(2).filter(|pair| pair[0] == name).map(|pair| pair[1].as_str()).collect()
            };
            assert_eq!(after("-serial"), lines, "{pi:?}");
            assert_eq!((after("-drive"), after("-dtb")), (vec!["file=/a,,b,format=raw,snapshot=on,if=sd"], vec!["/t"]));
            assert!(pi.contains(&forward), "{pi:?}");
            assert_eq!(Board::Raspi3b.console(tree), console);
        }
    }

    #[test]
    fn a_confined_machine_runs_and_its_port_is_open() {
        let fixture = Fixture::new();
        let free = free_port();
        for options in [
            OPTIONS(),
            BootOptions { ssh_port: Some(free), ..OPTIONS() },
            BootOptions { network: true, ssh_port: Some(free), ..OPTIONS() },
        ] {
            let output = fixture.machine(&options).output().unwrap();
            let said = (output.status, output.stdout_text(), output.tail());
            assert!(said.0 == 0 && said.1.contains("this machine runs"), "{options:?}: {said:?}");
        }
        // One that does not end takes connections meanwhile.
        let options = BootOptions { ssh_port: Some(free), ..OPTIONS() };
        let emulator = fixture.machine(&options).args(["-S"]);
        let silent: OnLine = Box::new(|_| ());
        let (temp, disk) = (tempfile::tempdir().unwrap(), tempfile::tempfile().unwrap());
        let session = Session::start(emulator.start().unwrap(), emulator.bounds(), temp, disk, silent).unwrap();
        let connected = (0..600).find_map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            TcpStream::connect(("127.0.0.1", free)).ok()
        });
        assert!(connected.is_some(), "nobody listens");
        drop(session);
    }

    #[test]
    fn a_machine_reaches_nothing_but_its_image() {
        let fixture = Fixture::new();
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        File::create(&secret).unwrap().write_all(&[1; 512]).unwrap();
        let new = outside.path().join("new");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for (what, argument, said) in [
            ("-drive", format!("file={},format=raw,if=none,id=other", secret.printable()), "Permission denied"),
            (
                "-drive",
                format!("file={},format=raw,if=none,id=other,readonly=on", secret.printable()),
                "Permission denied",
            ),
            ("-initrd", secret.to_string_lossy().into_owned(), "could not load initrd"),
            ("-chardev", format!("file,id=other,path={}", new.printable()), "Permission denied"),
            ("-chardev", format!("socket,id=other,host=127.0.0.1,port={port}"), "not permitted"),
            ("-chardev", "udp,id=other,host=127.0.0.1,port=9".to_owned(), "not permitted"),
            (
                "-netdev",
                format!("user,id=n2,hostfwd=tcp:127.0.0.1:{}-:22", port - 1),
                "Could not set up host forwarding",
            ),
            ("-netdev", "tap,id=n2".to_owned(), "could not"),
        ] {
            let output = fixture.with(&[what, &argument]);
            let tail = output.tail();
            assert!(output.status != 0 && tail.contains(said), "{what} {argument}: {} {tail}", output.status);
        }
        assert!(!new.exists());
        // One that is connected to has sockets, and connects to nobody; nor does it listen anywhere else.
        let options = BootOptions { ssh_port: Some(free_port()), ..OPTIONS() };
        for (argument, said) in [
            (format!("socket,id=other,host=127.0.0.1,port={port}"), "refused"),
            ("udp,id=other,host=127.0.0.1,port=9".to_owned(), "not permitted"),
        ] {
            let output = fixture.machine(&options).args(["-chardev", &argument]).output().unwrap();
            let tail = output.tail();
            assert!(output.status != 0 && tail.contains(said), "{argument}: {} {tail}", output.status);
        }
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody connected");
        // It has the image to read and not to write.
        let mut start = [0; 8];
        (&fixture.disk).read_exact(&mut start).unwrap();
        assert_eq!(start, [7; 8]);
    }
}
