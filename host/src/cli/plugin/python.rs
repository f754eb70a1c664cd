//! `piimg plugin build SCRIPT.py`.

use std::path::Path;

use crate::error::{Context as _, Failure, Result};
use crate::home::Home;
use crate::ui::{Printable as _, Ui, bytes, printable};
use crate::{plugin, python};

/// Makes the component of a script; its path is the only line on standard output.
pub(super) fn build(script: &Path, output: Option<&Path>, ui: &Ui) -> Result<i32> {
    let home = Home::of_user().with_context(|| {
        Failure::host("there is no directory for the tools of Python plugins")
            .hint("set HOME or XDG_CACHE_HOME to a directory of yours")
    })?;
    let (output, info) = python::build(&plugin::engine()?, &home, script, output, ui)?;
    let id = printable(&info.conf.id);
    ui.info(&format!("{id}: {} in `{}`", bytes(python::length(&output)), output.printable()));
    ui.path(&output);
    Ok(0)
}
