//! Pictures of a terminal for the README: what piimg really prints, in its colours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

const DIRECTORY: &str = "docs/pictures";

/// The plugin of the pictures.
const PLUGIN: &str = "piimg_minimal.wasm";

/// Recipe of the build: nothing of it is known yet.
const RECIPE: &str = "store = \"store\"\n";

/// Pictures by name, each of the output of piimg with these arguments.
const PICTURES: [(&str, &[&str]); 2] =
    [("build", &["build", "--plugin", PLUGIN, "--grant-requested"]), ("audit", &["audit", PLUGIN])];

/// Makes all of them with `piimg`, which builds an image from nothing.
pub(crate) fn write(piimg: &Path, plugin: &Path, target: &Path) -> Result<()> {
    let place = target.join("pictures");
    fs::create_dir_all(&place).context("cannot make a directory for the pictures")?;
    fs::copy(plugin, place.join(PLUGIN)).with_context(|| format!("cannot copy {}", plugin.display()))?;
    fs::write(place.join("piimg.toml"), RECIPE).context("cannot write a recipe")?;
    fs::create_dir_all(DIRECTORY).context("cannot make docs/pictures")?;
    let piimg = piimg.canonicalize().with_context(|| format!("there is no {}", piimg.display()))?;
    let made = PICTURES.iter().try_for_each(|(name, arguments)| {
        let path = PathBuf::from(DIRECTORY).join(name).with_extension("svg");
        let svg = picture(arguments, &output(&piimg, arguments, &place)?);
        fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))
    });
    // The store of the build, and the image.
    fs::remove_dir_all(&place).context("cannot remove what the pictures were made of")?;
    made
}

/// Runs piimg in a directory, and returns what it prints.
fn output(piimg: &Path, arguments: &[&str], place: &Path) -> Result<String> {
    let mut command = Command::new(piimg);
    // https://bixense.com/clicolors/
    command.current_dir(place).args(arguments).env("CLICOLOR_FORCE", "1");
    let output = command.output().with_context(|| format!("cannot start {}", piimg.display()))?;
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "`{command:?}` failed:\n{said}");
    // On a terminal, what a step is doing is a live line, of which nothing is left.
    Ok(said.split_inclusive('\n').filter(|line| !line.starts_with('…')).collect())
}

/// Draws a command and what it printed.
fn picture(arguments: &[&str], said: &str) -> String {
    let bold = "\u{1b}[1m";
    let reset = "\u{1b}[0m";
    let text = format!("{bold}$ piimg {}{reset}\n{}", arguments.join(" "), said.trim_end());
    anstyle_svg::Term::new().render_svg(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_shows_the_text_and_fetches_nothing() {
        let svg = picture(&["audit", "a<b"], "risk  \u{1b}[31mhigh\u{1b}[0m & so on\n");
        for expected in ["$ piimg audit a&lt;b", "high", "&amp; so on", "<svg", "fg-red"] {
            assert!(svg.contains(expected), "{expected} is missing:\n{svg}");
        }
        assert!(!svg.contains("\u{1b}") && !svg.contains("url(") && !svg.contains("@import"), "{svg}");
    }
}
