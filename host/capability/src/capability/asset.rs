//! `asset:<glob>`: a file or directory that the user hands over under that name.

use super::glob::{TextGlob, by_glob, text_scopes};
use super::kind::{Kind, Risk, Scope};
use super::package::parse_name;

pub const ASSET: Kind = Kind {
    name: "asset",
    verb: "use the assets",
    cannot: Some("read files of the host that are handed over"),
    by_command: false,
};

text_scopes! {
    /// Names of assets.
    Asset,
}

impl Scope for Asset {
    const KINDS: &'static [&'static Kind] = &[&ASSET];
    by_glob!(String, matches);

    fn parse(scope: &str) -> Result<Self, String> {
        parse_name(scope).map(Self)
    }

    /// Ranks it as harmless: what a plugin does with an asset is judged where it writes or runs it.
    fn risk(&self, _: &str) -> Option<(Risk, String)> {
        None
    }
}
