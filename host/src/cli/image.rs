//! Images that commands are given, which may be anybody's, and compressed.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use crate::error::{Context as _, Failure, Kind, Result, report, with_cause};
use crate::image::source;
use crate::image::{parsing, temporary_place};
use crate::sandbox::free_space::Room;
use crate::sandbox::parser::Parser;
use crate::ui::{Printable as _, Ui, bytes};

/// Opens an image for reading; one that is compressed is unpacked into a file without a name.
///
/// # Errors
/// [`Failure::usage`] if it cannot be opened, [`Failure::host`] if there is no room for what is in it. Of what is no image the
/// caller says so.
pub(super) fn open(path: &Path, ui: &Ui) -> Result<File> {
    let shown = path.printable();
    let refused = || Failure::usage(format!("cannot open the image `{shown}`"));
    let kind = std::fs::metadata(path).with_context(refused)?.file_type();
    // To open a pipe is to wait for somebody at its other end.
    anyhow::ensure!(kind.is_file() || kind.is_block_device(), refused().hint("it must be a file, or a disk"));
    let file = File::open(path).map_err(|error| {
        let refused = match error.kind() {
            ErrorKind::PermissionDenied if kind.is_block_device() => refused()
                .hint(format!("a disk is read by root: run it with sudo, or copy it: sudo cp {shown} FILE.img")),
            _ => refused(),
        };
        with_cause(error.into(), refused)
    })?;
    let parser = Parser::default();
    match parsing::recognise(&parser, &file) {
        Ok(found) if found.is_packed && found.kind == source::Kind::Image => {
            let name = path.file_name().map_or_else(|| shown.clone(), |name| Path::new(name).printable());
            unpacked(&parser, &file, &name, ui).with_context(|| format!("cannot unpack `{shown}`"))
        }
        _ => Ok(file),
    }
}

/// Unpacks a compressed file into an unnamed one.
fn unpacked(parser: &Parser, packed: &File, name: &str, ui: &Ui) -> Result<File> {
    let place = temporary_place();
    let shown = place.printable();
    let failed = || {
        Failure::host(format!("cannot make a temporary file in `{shown}`"))
            .hint("set TMPDIR to a directory that you can write to")
    };
    let file = tempfile::tempfile_in(&place).with_context(failed)?;
    let step = ui.step(format!("Unpack {name}"));
    let mut room = Room::new(&place, &shown, &format!("what is in `{name}`"))?;
    parsing::unpack(parser, packed, &file, parsing::LONGEST, &mut room)?;
    step.done_with(&bytes(file.metadata().context("cannot read what was unpacked")?.len()));
    Ok(file)
}

/// Makes the error for a file that cannot be read as an image, because of `error`.
pub(super) fn no_image(path: &Path, error: anyhow::Error) -> anyhow::Error {
    let shown = path.printable();
    let (found, text) = (report(&error), format!("`{shown}` is not a Raspberry Pi image that piimg understands"));
    if found.kind == Kind::Host {
        // Of what this machine lacks the image knows nothing.
        return error;
    }
    with_cause(error, Failure::new(found.kind, text))
}
