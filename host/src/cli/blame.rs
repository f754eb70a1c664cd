//! `piimg blame`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::image::{no_image, open};
use crate::error::{Context, Failure, Result};
use crate::image::ext4::Ext4Reader;
use crate::image::source;
use crate::report::blame::{Origin, listed_as, origins};
use crate::report::{BUILD_INFO, BuildInfo};
use crate::sandbox::parser::Parser;
use crate::ui::{Ui, printable};

/// Longest description of a build that is read: it lists changes of 4 MiB, and has little else.
const LONGEST_INFO: usize = 32 << 20;

/// Say who put a file of an image there: which plugin by which call, which package, or which step of piimg.
#[derive(Debug, Args)]
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
    let path = arguments.path.trim_end_matches('/');
    if !path.starts_with('/') {
        return Err(Failure::usage(format!("`{}` is not absolute", printable(&arguments.path)))
            .hint("give the path as the Pi sees it, such as /etc/hostname")
            .into());
    }
    let root = open_root(&arguments.image, ui)?;
    let info = build_info(&root)?;
    let found = origins(info.as_ref(), &root.packages_of(&listed_as(path))?, path);
    if arguments.json {
        ui.json(&found)?;
        return Ok(0);
    }
    found.iter().for_each(|origin: &Origin| ui.data(&origin.to_string()));
    if found.is_empty() {
        ui.data(if info.is_some() {
            "no plugin, no package's list and no step of piimg names it: a package's own script made it, or it is not there"
        } else {
            "no package's list names it, and the image does not tell how it was built"
        });
    }
    Ok(0)
}

/// The root file system of an image.
pub(super) fn open_root(path: &Path, ui: &Ui) -> Result<Ext4Reader> {
    let (image, parser) = (open(path, ui)?, Parser::default());
    let disk = source::disk(&image, &parser).map_err(|error| no_image(path, error))?;
    Ext4Reader::open(&image, disk.root.start.to_bytes())
}

/// What an image tells about its build, if it does.
pub(super) fn build_info(root: &Ext4Reader) -> Result<Option<BuildInfo>> {
    let Some(text) = root.read(BUILD_INFO)? else { return Ok(None) };
    let unusable = || Failure::usage(format!("cannot understand `{BUILD_INFO}` of the image"));
    anyhow::ensure!(text.len() <= LONGEST_INFO, unusable().hint("it is longer than a build makes it"));
    serde_json::from_slice(&text).with_context(unusable).map(Some)
}
