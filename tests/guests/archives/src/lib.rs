//! Brings an archive with its keys and lists a package of it. Which archive is written into the component by the test.

use std::hint::black_box;

use piimg_plugin_sdk::apt::Repository;
use piimg_plugin_sdk::{Plugin, PluginConf, Result, log, packages};

/// A line that nothing else has; name, address, suite and components; fingerprints; keys up to the end.
static ARCHIVE: &[u8] = include_bytes!("archive.txt");

struct Archives;

impl Plugin for Archives {
    fn conf() -> PluginConf {
        // The compiler must not know what it is.
        let text = String::from_utf8_lossy(black_box(ARCHIVE)).into_owned();
        let parts: Vec<&str> = text.splitn(4, '\n').collect();
        let words: Vec<&str> = parts[1].split(' ').collect();
        let flat = Repository::new(words[0], words[1], words[2]);
        let archive = words[3..].iter().fold(flat, |archive, component| archive.component(component));
        let fingerprints: Vec<&str> = parts[2].split(' ').filter(|word| !word.is_empty()).collect();
        PluginConf::new("test/archives", "1.0.0", "Archives")
            .repository(&archive, &fingerprints, parts[3].trim_end().as_bytes())
            .package("robot-tool")
    }

    fn execute() -> Result {
        log::info!("there: {}", packages::query("robot-tool")?.is_some());
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Archives);
