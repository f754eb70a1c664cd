//! `asset:<glob>`: a file or directory that the user hands over under that name.

use super::glob::{TextGlob, text_scopes};
use super::kind::{Kind, Risk, Scope};
use super::package::parse_name;

pub(crate) const ASSET: Kind = Kind {
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
    type Need = String;

    fn parse(scope: &str) -> Result<Self, String> {
        parse_name(scope).map(Self)
    }

    fn covers(&self, name: &String) -> bool {
        self.0.matches(name)
    }

    fn includes(&self, other: &Self) -> bool {
        self.0.includes(&other.0)
    }

    /// What a plugin does with an asset is judged where it writes or runs it.
    fn risk(&self, _: &str) -> Option<(Risk, String)> {
        None
    }
}
