//! Build information in an image: anybody may have written it, and a terminal shows it.

use piimg::report::BuildInfo;
use piimg::report::blame::{listed_as, origins};

use super::naive::assert_printable;

pub(super) fn check(data: &[u8]) -> bool {
    let Ok(info) = serde_json::from_slice::<BuildInfo>(data) else { return false };
    let again = serde_json::to_vec(&info).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<BuildInfo>(&again).expect("it was just written"), info);
    let paths = info.plugins.iter().flat_map(|plugin| &plugin.effects).map(|effect| effect.change.path.as_str());
    for path in paths.chain(info.steps.keys().map(String::as_str)).chain(["/etc/hostname", ""]) {
        let found = origins(Some(&info), &listed_as(path), path, path.len() % 2 == 0);
        found.iter().for_each(|origin| assert_printable(&origin.to_string()));
    }
    true
}
