//! Finds reasons why a package request cannot be fulfilled: it contradicts another one, or comes too late.

use super::{Owner, Packages, name_of};
use crate::plugin::workbench::PackageRequest;
use crate::recipe::debconf::Answer;
use crate::recipe::pin::Pin;
use crate::recipe::plan::PlannedPlugin;
use crate::steps::Layer;

/// Reason against a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::steps) enum Objection {
    /// A package to remove is wanted.
    Wanted { name: String, by: Owner },
    /// A package to install is to be gone.
    Unwanted { name: String, by: Owner },
    /// A package that is to be gone is needed by others.
    Back { name: String, by: Owner },
    /// A question has another answer.
    Answered { question: String, by: Owner },
    /// The same has another priority.
    Pinned { pin: String, by: Owner },
    /// A package that would ask is installed, and has asked.
    Late { question: String },
}

impl Objection {
    /// Says it in one line, which may quote a plugin's id.
    pub(in crate::steps) fn told(&self, plugins: &[PlannedPlugin]) -> String {
        let who = |owner: Owner| match owner {
            Owner::Recipe => "the recipe".to_owned(),
            Owner::Plugin(index) => format!("the plugin `{}`", plugins[index].id),
        };
        match self {
            Self::Wanted { name, by: Owner::Recipe } => format!("cannot remove `{name}`: the recipe lists it"),
            Self::Wanted { name, by } => format!("cannot remove `{name}`: {} wants it", who(*by)),
            Self::Unwanted { name, by } => format!("cannot install `{name}`: {} removes it", who(*by)),
            Self::Back { name, by } => {
                format!("`{name}` would be there again, which {} removes: something depends on it", who(*by))
            }
            Self::Answered { question, by } => format!("cannot answer `{question}`: {} answers otherwise", who(*by)),
            Self::Pinned { pin, by } => format!("cannot pin {pin}: {} does so otherwise", who(*by)),
            Self::Late { question } => {
                format!("cannot answer `{question}`: its package is installed already, and asks no more")
            }
        }
    }
}

impl Packages {
    /// Returns the objection to the request of `owner`, if it is still to be done.
    pub(in crate::steps) fn objection(&self, owner: Owner, request: &PackageRequest) -> Option<Objection> {
        match request {
            PackageRequest::Remove { names, .. } => {
                let mut wanted = self.wanted().filter(|(name, _)| names.iter().any(|removed| removed == name));
                wanted.next().map(|(name, by)| Objection::Wanted { name: name.to_owned(), by })
            }
            PackageRequest::Install { specs, .. } => {
                let named = |name: &str| specs.iter().any(|spec| name_of(spec) == name);
                let mut unwanted = self.unwanted_by_others(owner).filter(|(name, _)| named(name));
                unwanted.next().map(|(name, by)| Objection::Unwanted { name: name.to_owned(), by })
            }
            PackageRequest::Answer { answers } => answers.iter().find_map(|answer| self.objection_to(answer)),
            PackageRequest::Pin { pins } => pins.iter().find_map(|pin| self.objection_to_pin(pin)),
        }
    }

    fn objection_to(&self, answer: &Answer) -> Option<Objection> {
        let question = answer.question().to_owned();
        match self.answer_to(&question) {
            Some((same, _)) if same == answer => None,
            Some((_, by)) => Some(Objection::Answered { question, by }),
            None if self.installed().any(|package| package.name == answer.package()) => {
                Some(Objection::Late { question })
            }
            None => None,
        }
    }

    fn objection_to_pin(&self, pin: &Pin) -> Option<Objection> {
        let others = self.brought.iter().filter(|brought| match &brought.request {
            PackageRequest::Pin { pins } => pins.iter().any(|other| other.contradicts(pin)),
            _ => false,
        });
        others.map(|brought| Objection::Pinned { pin: pin.to_string(), by: brought.owner }).next()
    }

    /// Returns a package that somebody else removed and that is back with the next layer, which `owner` has wanted.
    pub(super) fn back(&self, owner: Owner, next: &Layer) -> Option<Objection> {
        let is_there = |name: &str| next.packages.iter().any(|package| package.name == name);
        let mut back = self.unwanted_by_others(owner).filter(|(name, _)| is_there(name));
        back.next().map(|(name, by)| Objection::Back { name: name.to_owned(), by })
    }

    /// Names that somebody wants to be gone, but for the one who asks now, and who.
    fn unwanted_by_others(&self, asking: Owner) -> impl Iterator<Item = (&str, Owner)> {
        let others = self.brought.iter().filter(move |brought| brought.owner != asking);
        others.flat_map(|brought| match &brought.request {
            PackageRequest::Remove { names, .. } => {
                names.iter().map(|name| (name.as_str(), brought.owner)).collect::<Vec<_>>()
            }
            PackageRequest::Install { .. } | PackageRequest::Answer { .. } | PackageRequest::Pin { .. } => Vec::new(),
        })
    }

    /// Returns the answer to a debconf question, and who gave it.
    pub(super) fn answer_to(&self, question: &str) -> Option<(&Answer, Owner)> {
        self.brought.iter().find_map(|brought| match &brought.request {
            PackageRequest::Answer { answers } => {
                answers.iter().find(|answer| answer.question() == question).map(|answer| (answer, brought.owner))
            }
            PackageRequest::Install { .. } | PackageRequest::Remove { .. } | PackageRequest::Pin { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answer, install, layer, pin, remove};
    use super::super::{Brought, Owner, Packages};
    use crate::plugin::workbench::PackageRequest;

    fn packages(brought: &[(Owner, PackageRequest)]) -> Packages {
        let mut packages = Packages::of_base(&layer(&[("tzdata", "1")], &[]));
        packages.brought.extend(brought.iter().map(|(owner, request)| Brought {
            owner: *owner,
            request: request.clone(),
            packages: Vec::new(),
            effects: Vec::new(),
        }));
        packages
    }

    #[test]
    fn nobody_undoes_what_another_one_wants() {
        let (me, other) = (Owner::Plugin(0), Owner::Plugin(1));
        let there = [
            (Owner::Recipe, install(&["aa=1"])),
            (other, remove(&["bb"])),
            (me, remove(&["cc"])),
            (other, answer(&[("dd/q", "1")])),
            (other, pin("ee", 9)),
        ];
        for (request, expected) in [
            (remove(&["zz", "aa"]), "cannot remove `aa`: the recipe lists it"),
            (remove(&["zz"]), ""),
            (install(&["zz", "bb=2"]), "cannot install `bb`: the plugin `x/other` removes it"),
            (install(&["cc"]), ""),
            (pin("ee", 9), ""),
            (pin("ee", 8), "cannot pin ee to version 1 at 8: the plugin `x/other` does so otherwise"),
            (answer(&[("dd/q", "1"), ("dd/r", "1")]), ""),
            (answer(&[("dd/q", "2")]), "cannot answer `dd/q`: the plugin `x/other` answers otherwise"),
            (
                answer(&[("dd/q", "1"), ("tzdata/q", "1")]),
                "cannot answer `tzdata/q`: its package is installed already, and asks no more",
            ),
        ] {
            let plugins = ["x/me", "x/other"].map(super::super::tests::planned);
            let objection = packages(&there).objection(me, &request);
            assert_eq!(objection.map_or(String::new(), |it| it.told(&plugins)), expected, "{request}");
        }
        let back = |name: &str| packages(&there).back(me, &layer(&[(name, "1")], &[])).is_some();
        assert!(back("bb") && !back("cc") && !back("aa"));
    }
}
