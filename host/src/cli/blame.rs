//! Implements `piimg blame`.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;

use super::image::{no_image, open};
use crate::error::{Context, Failure, Kind, Result};
use crate::image::ext4::Ext4Reader;
use crate::image::parsing::BootPartition;
use crate::image::source;
use crate::report::blame::{Origin, listed_as, origins};
use crate::report::{BUILD_INFO, BuildInfo};
use crate::rootfs::boot_config::DIRECTORY as BOOT;
use crate::sandbox::parser::Parser;
use crate::ui::{Ui, printable};

/// Longest description of a build that is read: it lists changes of 4 MiB, and has little else.
const LONGEST_INFO: usize = 32 << 20;

/// Say who put a file of an image there: which plugin by which call, which package, or which step of piimg.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg blame robot.img /etc/hostname")]
pub(super) struct Arguments {
    /// An image, made by piimg or not.
    image: PathBuf,
    /// Absolute path in the image.
    path: String,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    if !arguments.path.starts_with('/') {
        return Err(Failure::usage(format!("`{}` is not absolute", printable(&arguments.path)))
            .hint("give the path as the Pi sees it, such as /etc/hostname")
            .into());
    }
    let image = open(&arguments.image, ui)?;
    let root = root_of(&image).map_err(|error| no_image(&arguments.image, error))?;
    let info = build_info(&root)?;
    let (path, found) = root.resolve(&arguments.path)?;
    let is_there = match path.strip_prefix(BOOT) {
        Some(inside) if inside.starts_with('/') => is_on_boot_partition(&image, &inside[1..])?,
        _ => found.is_some(),
    };
    let found = origins(info.as_ref(), &root.packages_of(&listed_as(&path))?, &path, is_there);
    if arguments.json {
        ui.json(&found)?;
    } else {
        if path != arguments.path.trim_end_matches('/') && path != "/" {
            ui.info(&format!("`{}` is `{}`", printable(&arguments.path), printable(&path)));
        }
        found.iter().for_each(|origin: &Origin| ui.data(&origin.to_string()));
    }
    Ok(if is_there { 0 } else { Kind::Build as i32 })
}

/// Returns whether the boot partition, whose names have no case, has a file or a directory of that name.
fn is_on_boot_partition(image: &File, inside: &str) -> Result<bool> {
    let parser = Parser::default();
    let disk = source::disk(image, &parser)?;
    let boot = BootPartition::read(&parser, image, &disk.boot)?;
    let inside = inside.to_lowercase();
    let is_it = |path: &str| path == inside || path.strip_prefix(inside.as_str()).is_some_and(|it| it.starts_with('/'));
    Ok(boot.files.iter().any(|file| is_it(&file.path.to_lowercase())))
}

/// Returns the root file system of an image at a path.
pub(super) fn open_root(path: &Path, ui: &Ui) -> Result<Ext4Reader> {
    root_of(&open(path, ui)?).map_err(|error| no_image(path, error))
}

/// Returns the root file system of an image.
pub(super) fn root_of(image: &File) -> Result<Ext4Reader> {
    let disk = source::disk(image, &Parser::default())?;
    Ext4Reader::open(image, disk.root.start.to_bytes())
}

/// Reads the record of an image's build, if it has one.
pub(super) fn build_info(root: &Ext4Reader) -> Result<Option<BuildInfo>> {
    let Some(text) = root.read(BUILD_INFO)? else { return Ok(None) };
    let unusable = || Failure::usage(format!("cannot understand `{BUILD_INFO}` of the image"));
    anyhow::ensure!(text.len() <= LONGEST_INFO, unusable().hint("it is longer than a build makes it"));
    serde_json::from_slice(&text).with_context(unusable).map(Some)
}
