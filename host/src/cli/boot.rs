//! Implements `piimg boot`.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;

use super::image::{no_image, open};
use super::verify::model;
use crate::error::{Failure, Result};
use crate::image::boot::{Board, BootOptions, boot};
use crate::image::layout::Bytes;
use crate::ui::{Ui, printable};

/// Start an image in QEMU from its own kernel and initramfs, up to a login prompt; it is not changed.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg boot robot.img --ssh-port 2222")]
pub(super) struct Arguments {
    image: PathBuf,
    /// Pi model whose sections of config.txt count.
    #[arg(long)]
    model: Option<String>,
    /// What QEMU emulates: `virt`, a machine of its own, or `raspi3b`, a Pi 3 with the image's own device tree and its card.
    #[arg(long, value_name = "NAME", default_value = "virt")]
    machine: String,
    /// Memory in MiB.
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Seconds until the login prompt must be there.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// Wait for this text on the console instead of a login prompt.
    #[arg(long, value_name = "TEXT")]
    until: Option<String>,
    /// Length of the disk in MiB, to watch the root file system grow.
    #[arg(long, value_name = "MIB")]
    disk: Option<u64>,
    /// Port of this machine that leads to the image's ssh; the machine then runs until it is stopped.
    #[arg(long, value_name = "PORT")]
    ssh_port: Option<u16>,
    /// Let the image reach whatever this machine reaches.
    #[arg(long)]
    network: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let board = board(&arguments.machine)?;
    let file = open(&arguments.image, ui)?;
    let options = BootOptions {
        board,
        model: arguments.model.as_deref().map(model).transpose()?,
        memory_mib: arguments.memory,
        ssh_port: arguments.ssh_port,
        network: arguments.network,
        disk: arguments.disk.map(Bytes::mib),
        ..BootOptions::default()
    };
    let (sender, lines) = mpsc::channel::<String>();
    let printer = ui.clone();
    // The console is the data of this command.
    let writer = std::thread::spawn(move || {
        for line in lines {
            printer.data(&line);
        }
    });
    let result = (|| {
        let mut session = boot(&file, &options, Box::new(move |line| drop(sender.send(line.to_owned()))))
            .map_err(|error| no_image(&arguments.image, error))?;
        let timeout = Duration::from_secs(arguments.timeout);
        match &arguments.until {
            Some(text) => session.wait_for(text, timeout).map(drop)?,
            None => session.wait_for_login(timeout)?,
        }
        if let Some(port) = arguments.ssh_port {
            ui.info(&format!("the image is up: ssh -p {port} USER@127.0.0.1; end it with Ctrl-C"));
            return session.wait_for_end(Duration::from_secs(u64::from(u32::MAX)));
        }
        Ok(())
    })();
    writer.join().expect("printing does not panic");
    result.map(|()| {
        ui.info("the image booted");
        0
    })
}

/// Returns the machine of that name.
fn board(name: &str) -> Result<Board> {
    Board::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Board::ALL.into_iter().map(Board::name).collect();
        Failure::usage(format!("there is no machine `{}`; piimg knows: {}", printable(name), known.join(", "))).into()
    })
}
