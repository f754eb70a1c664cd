//! Writes man pages and completions of piimg's command line below a directory, for `cargo xtask package`. A program of its
//! own: who builds an image needs none of it.
#![expect(clippy::disallowed_methods, reason = "it runs while piimg is packaged, in a directory of the packager's")]

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap_complete::{Shell, generate_to};

/// Directory of the completions for each shell, below the one that is given.
const SHELLS: [(Shell, &str); 3] = [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")];

fn main() -> Result<()> {
    let top = PathBuf::from(std::env::args_os().nth(1).context("usage: manual DIRECTORY")?);
    let directory = |name: &str| -> Result<PathBuf> {
        let directory = top.join(name);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make `{}`", directory.display()))?;
        Ok(directory)
    };
    let command = piimg::cli::command();
    clap_mangen::generate_to(command.clone().disable_help_subcommand(true), directory("man")?)
        .context("cannot write the man pages")?;
    for (shell, name) in SHELLS {
        generate_to(shell, &mut command.clone(), "piimg", directory(name)?)
            .with_context(|| format!("cannot write the completions for {name}"))?;
    }
    Ok(())
}
