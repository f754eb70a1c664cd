//! Implements `context`: facts about the build. Needs no capability: it tells a plugin only what the user chose for it.

use super::Session;

impl Session<'_> {
    pub(super) fn param(&self, name: &str) -> Option<String> {
        self.params.get(name).cloned()
    }

    pub(super) fn granted(&self, scope: &str) -> bool {
        self.grants.has(scope)
    }
}
