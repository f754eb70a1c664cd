//! Implements `piimg inspect`.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::image::{no_image, open};
use crate::error::{Context, Failure, Result};
use crate::home::Home;
use crate::image::inspect::{FileSystemInfo, Inspection, inspect as inspect_image};
use crate::plugin::InspectedPlugin;
use crate::plugin::grant::reason;
use crate::plugin::inspect::inspect as inspect_plugin;
use crate::plugin::{self, CodeCache};
use crate::sandbox::parser::Parser;
use crate::ui::{Printable as _, Ui, bytes, printable};

/// Show what is in an image, or what a plugin is and asks for, without running `execute()`.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg inspect motd.wasm")]
pub(super) struct Arguments {
    /// An image or a component.
    file: PathBuf,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let lines = if is_wasm(&arguments.file)? {
        let cache = Home::of_user().as_ref().and_then(CodeCache::open);
        let info = inspect_plugin(&plugin::engine()?, &arguments.file, cache.as_ref())?;
        if arguments.json {
            ui.json(&info)?;
            return Ok(0);
        }
        plugin_lines(&info)
    } else {
        let inspection = inspect_image(&open(&arguments.file, ui)?, &Parser::default())
            .map_err(|error| no_image(&arguments.file, error))?;
        if arguments.json {
            ui.json(&inspection)?;
            return Ok(0);
        }
        image_lines(&inspection)
    };
    lines.iter().for_each(|line| ui.data(line));
    Ok(0)
}

/// Returns whether this is a plugin, by content or by name: for a broken `.wasm` the plugin's message is the better
/// one.
fn is_wasm(path: &Path) -> Result<bool> {
    if path.extension().is_some_and(|extension| extension == "wasm" || extension == "wat") {
        return Ok(true);
    }
    let mut magic = Vec::new();
    let unreadable = || Failure::usage(format!("cannot read `{}`", path.printable()));
    let kind = std::fs::metadata(path).with_context(unreadable)?.file_type();
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
        // To open a pipe is to wait for somebody at its other end; as an image it is refused.
        return Ok(false);
    }
    let file = File::open(path).with_context(unreadable)?;
    file.take(4).read_to_end(&mut magic).with_context(unreadable)?;
    Ok(magic == b"\0asm")
}

fn plugin_lines(info: &InspectedPlugin) -> Vec<String> {
    let conf = &info.conf;
    let mut lines = vec![
        format!("plugin      {} {}: {}", printable(&conf.id), printable(&conf.version), printable(&conf.title)),
        format!("digest      {}", info.digest),
    ];
    let mut param = |name: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("{name:<11} {}", printable(&value))));
    };
    param("hostname", conf.image.hostname.clone());
    param("flavour", conf.image.flavour.clone());
    param("release", conf.image.release.clone());
    param("free space", conf.image.rootfs_extra_space_mb.map(|size| format!("{size} MiB")));
    param("rootfs", conf.image.rootfs.clone());
    param("imagedir", conf.image.imagedir.clone());
    param("packages", (!conf.image.apt_get_packages.is_empty()).then(|| conf.image.apt_get_packages.join(" ")));
    for parameter in &conf.params {
        let default = parameter
            .default
            .as_ref()
            .map_or("must be set".into(), |default| format!("default {}", printable(default)));
        lines.push(format!("parameter   {}: {} ({default})", printable(&parameter.name), printable(&parameter.title)));
    }
    lines.push("asks for".into());
    for request in &info.requests {
        let optional = if request.optional { ", can do without" } else { "" };
        lines.push(format!("  {}  ({}{optional})", printable(&request.scope), reason(request)));
    }
    lines.push("can call".into());
    for import in &info.imports {
        lines.push(format!("  {}: {}", printable(&import.name), printable(&import.functions.join(", "))));
    }
    lines
}

fn image_lines(image: &Inspection) -> Vec<String> {
    let models: Vec<String> = image.models.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        format!("system      {}", printable(image.os.as_deref().unwrap_or("unknown"))),
        format!("hostname    {}", printable(image.hostname.as_deref().unwrap_or("none"))),
        format!("boots on    {}", if models.is_empty() { "no Pi".into() } else { models.join(", ") }),
        format!("size        {}, of which {} are stored", bytes(image.size.0), bytes(image.allocated.0)),
        format!("signature   {}", image.disk_signature),
    ];
    for partition in &image.partitions {
        let kind = match &partition.file_system {
            Some(FileSystemInfo::Vfat(fat)) => format!("FAT `{}`, {} free", printable(&fat.label), bytes(fat.free.0)),
            Some(FileSystemInfo::Ext4(ext4)) => {
                format!("ext4 `{}`, {} free", printable(&ext4.label), bytes(ext4.free.0))
            }
            None => "not understood".into(),
        };
        lines.push(format!(
            "partition {} PARTUUID={} type {:#04x}, {} at {}: {kind}",
            partition.number,
            partition.partuuid,
            partition.kind,
            bytes(partition.length.0),
            bytes(partition.start.0)
        ));
    }
    lines.extend(image.cmdline.as_ref().map(|cmdline| format!("cmdline     {}", printable(cmdline.trim()))));
    lines.extend(image.unreadable.iter().map(|why| format!("unreadable  {}", printable(why))));
    lines.push("boot files".into());
    lines.extend(image.boot_files.iter().map(|file| format!("  {:>9}  {}", bytes(file.size), printable(&file.path))));
    lines
}
