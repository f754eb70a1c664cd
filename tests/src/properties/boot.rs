//! Boot files of each model, by the text files of a boot partition: known or missing, and found in the end.

use piimg::image::models::{BootFiles, Model, boot_plan, bootable, check as missing};

use super::naive::text;

/// Between two files in the input.
const END: char = '\u{1e}';

pub(super) fn check(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let (config, other) = text.split_once(END).unwrap_or((text, ""));
    let names = config.split_whitespace().chain(["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"]);
    let mut files = BootFiles::new(names);
    files.add_text("config.txt", config.to_owned());
    files.add_text("other.txt", other.to_owned());
    files.add_text("cmdline.txt", other.to_owned());
    let bootable = bootable(&files);
    for model in Model::ALL {
        let plan = boot_plan(&files, model);
        assert_eq!(missing(&files, model).is_empty(), bootable.contains(&model), "{model:?}");
        if bootable.contains(&model) {
            let plan = plan.unwrap_or_else(|missing| panic!("{model:?} boots without {missing:?}"));
            assert!(files.contains(&plan.kernel), "{model:?} boots {:?}", plan.kernel);
        }
    }
    config.contains('=') || config.contains("include")
}
