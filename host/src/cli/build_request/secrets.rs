//! Determines which secrets a build needs, without reading one.

use std::collections::BTreeMap;

use super::trust::Question;
use crate::error::{Failure, Result};
use crate::plugin::InspectedPlugin;
use crate::plugin::grant::GrantSet;
use crate::recipe::host::Offer;
use crate::recipe::plan::Plan;
use crate::secret::source::{FORMS, Source};
use crate::ui::printable;

/// Returns the sources of the secrets that the plugins may use. One that a plugin can do without may have none.
///
/// # Errors
/// [`Failure::usage`] naming every secret that has no source, with the plugin that needs it, or one of the flags that no
/// plugin asks for. A recipe may know more: which ones are asked for may follow from parameters. [`Failure::grant`] if a
/// secret that may be used comes from where only the recipe says.
pub(super) fn needed(
    plan: &Plan,
    question: &Question<'_>,
    plugins: &[InspectedPlugin],
    grants: &[GrantSet],
) -> Result<BTreeMap<String, Source>> {
    for name in question.flags.secrets.iter().filter_map(|flag| Some(flag.split_once('=')?.0)) {
        if !grants.iter().any(|grants| grants.wants_secret(name)) {
            return Err(
                Failure::usage(format!("no plugin of this build asks for the secret `{}`", printable(name))).into()
            );
        }
    }
    let mut sources = BTreeMap::new();
    let (mut missing, mut refused) = (Vec::new(), BTreeMap::new());
    for (info, grants) in plugins.iter().zip(grants) {
        for (name, is_optional) in grants.secrets() {
            match plan.secrets.get(name) {
                Some(Offer::Allowed(source)) => {
                    sources.insert(name.to_owned(), source.clone());
                }
                Some(Offer::Refused(wish)) => {
                    refused.insert(name.to_owned(), wish.clone());
                }
                Some(Offer::Malformed) | None if is_optional => {}
                Some(Offer::Malformed) | None => missing.push((name, printable(&info.conf.id))),
            }
        }
    }
    let Some((first, _)) = missing.first() else {
        if refused.is_empty() {
            return Ok(sources);
        }
        return Err(question.refuse(&refused.into_values().collect::<Vec<_>>()).into());
    };
    let lines: String = missing.iter().map(|(name, id)| format!("\n  `{name}`, for `{id}`")).collect();
    Err(Failure::usage(format!("secrets that plugins need were not given:{lines}"))
        .hint(format!("give each: --secret {first}=SOURCE, or `{first} = \"SOURCE\"` in `[secrets]` of the recipe"))
        .hint(format!("a source is {FORMS}"))
        .into())
}
