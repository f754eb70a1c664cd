//! The machine and the programs that are measured with.

use std::fs;

use anyhow::{Context as _, Result};
use piimg_tests::bench::{Machine, bytes};
use piimg_tests::piimg;

use crate::measure::{command, text};

/// Looks at this machine.
pub(crate) fn look() -> Result<Machine> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let memory = value(&read("/proc/meminfo")?, "MemTotal");
    let kib = memory.trim_end_matches(" kB").parse::<u64>().context("/proc/meminfo does not say how much there is")?;
    let piimg = piimg();
    let first_line = |program: &str, flag: &str| -> Result<String> {
        let said = text(command(program).arg(flag))?;
        Ok(said.lines().next().unwrap_or_default().to_owned())
    };
    Ok(Machine {
        cpu: value(&read("/proc/cpuinfo")?, "model name"),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory: bytes(kib << 10),
        kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        versions: vec![
            ("piimg".into(), first_line(&piimg.display().to_string(), "--version")?),
            ("mmdebstrap".into(), first_line("mmdebstrap", "--version")?),
            ("QEMU".into(), first_line("qemu-aarch64-static", "--version")?),
        ],
    })
}
