//! Looks up secrets for the interfaces that use them on behalf of a plugin. A plugin gives the name; no answer and no
//! error that it gets contains any of the value.

use super::{Answer, Session, invalid};
use crate::plugin::capability::Need;
use crate::plugin::workbench::{CallError, ErrorCode};
use crate::secret::{Secret, check_name};

impl<'a> Session<'a> {
    /// Returns the secret of that name, if the gate allows to use it.
    pub(super) fn secret(&mut self, name: &str) -> Answer<&'a Secret> {
        check_name(name).map_err(|cause| invalid(format!("`{name}` is no secret: {cause}")))?;
        self.gate(&Need::Secret(name.to_owned()))?;
        self.secrets
            .get(name)
            .copied()
            .ok_or_else(|| CallError::new(ErrorCode::NotFound, format!("no value was given for the secret `{name}`")))
    }
}
