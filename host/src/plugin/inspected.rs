//! A plugin as it travels through a build: what is known of it, and its native code.

use std::fs::File;
use std::ops::{Deref, DerefMut};

use piimg_capability::info::PluginInfo;
use serde::{Deserialize, Serialize};

use super::code::Code;
use crate::error::Result;

/// A plugin: knowledge of it, and its native code. Written as data, only the knowledge remains.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InspectedPlugin {
    pub info: PluginInfo,
    #[serde(skip)]
    pub(super) code: Code,
}

impl InspectedPlugin {
    /// Returns the compiled component, to be passed on beside the data.
    ///
    /// # Errors
    /// [`crate::error::Failure::bug`] if only the data is known.
    pub fn code_file(&self) -> Result<&File> {
        self.code.file()
    }

    /// Gives back to what was known of a plugin the file of [`InspectedPlugin::code_file`] that the outer process of this
    /// build passed on: it is run as it is.
    ///
    /// # Errors
    /// [`crate::error::Failure::bug`] if it is not such a file.
    pub(crate) fn with_code(self, file: File) -> Result<Self> {
        Ok(Self { code: Code::from_file(file)?, ..self })
    }
}

impl Deref for InspectedPlugin {
    type Target = PluginInfo;

    fn deref(&self) -> &PluginInfo {
        &self.info
    }
}

impl DerefMut for InspectedPlugin {
    fn deref_mut(&mut self) -> &mut PluginInfo {
        &mut self.info
    }
}
