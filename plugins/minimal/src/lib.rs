//! The smallest useful image: a host name, one package, and a note that says which image it is.

use piimg_plugin_sdk::context::ImageInfo;
use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::{Plugin, PluginConf, Result, context, fs, log};

/// Path of the note.
const NOTE: &str = "/etc/piimg-minimal";

struct Minimal;

impl Plugin for Minimal {
    fn conf() -> PluginConf {
        PluginConf::new("piimg/minimal", env!("CARGO_PKG_VERSION"), "Minimal image")
            .description("A small image with one package and a note in /etc that says which image it is.")
            .hostname("piimg-minimal")
            .flavour("minimal")
            .release("bookworm")
            .rootfs_extra_space_mb(200)
            .package("htop")
            .needs_because(fs::writing(NOTE), "writes which image this is")
            .needs_because(version(), "checks that the package works")
    }

    fn execute() -> Result {
        let image = context::image();
        fs::write(NOTE, note(&image)).mode(0o644).owner("root", "root").apply()?;
        log::info!("{} is ready with {}", image.hostname, first_line(&version().read()?));
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Minimal);

fn version() -> Command {
    Command::new("htop").arg("--version")
}

/// Writes the note's text, `name=value` by line so that scripts can read it.
fn note(image: &ImageInfo) -> String {
    let ImageInfo { architecture, distribution, release, hostname, flavour, epoch } = image;
    format!(
        "HOSTNAME={hostname}\nFLAVOUR={flavour}\nDISTRIBUTION={distribution}\nRELEASE={release}\n\
         ARCHITECTURE={architecture}\nSOURCE_DATE_EPOCH={epoch}\n"
    )
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_says_which_image_it_is() {
        let image = ImageInfo {
            architecture: "arm64".to_owned(),
            distribution: "debian".to_owned(),
            release: "bookworm".to_owned(),
            hostname: "piimg-minimal".to_owned(),
            flavour: "minimal".to_owned(),
            epoch: 1_700_000_000,
        };
        assert_eq!(
            note(&image),
            "HOSTNAME=piimg-minimal\nFLAVOUR=minimal\nDISTRIBUTION=debian\nRELEASE=bookworm\nARCHITECTURE=arm64\n\
             SOURCE_DATE_EPOCH=1700000000\n"
        );
    }

    #[test]
    fn it_asks_for_exactly_what_it_uses() {
        let conf = Minimal::conf();
        let scopes: Vec<String> = conf.capabilities().into_iter().map(|capability| capability.scope).collect();
        assert_eq!(scopes, [format!("fs:write:{NOTE}"), "exec:htop --version".to_owned()]);
        assert_eq!(conf.image_params().apt_get_packages, ["htop"]);
    }

    #[test]
    fn only_the_first_line_of_the_version_is_told() {
        assert_eq!(first_line("htop 3.2.2\nmore\n"), "htop 3.2.2");
        assert_eq!(first_line(""), "");
    }
}
