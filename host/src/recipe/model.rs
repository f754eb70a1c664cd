//! The models of the Raspberry Pi that an image may be wanted for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A family of boards that boots from the same files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Model {
    #[serde(rename = "zerow")]
    ZeroW,
    #[serde(rename = "pi2")]
    Pi2,
    #[serde(rename = "pi3")]
    Pi3,
    #[serde(rename = "pi3+")]
    Pi3Plus,
    #[serde(rename = "pi3a+")]
    Pi3APlus,
    #[serde(rename = "cm3")]
    Cm3,
    #[serde(rename = "cm3+")]
    Cm3Plus,
    #[serde(rename = "zero2w")]
    Zero2W,
    #[serde(rename = "pi4")]
    Pi4,
    #[serde(rename = "pi400")]
    Pi400,
    #[serde(rename = "cm4")]
    Cm4,
    #[serde(rename = "cm4s")]
    Cm4S,
    #[serde(rename = "pi5")]
    Pi5,
    #[serde(rename = "pi500")]
    Pi500,
    #[serde(rename = "cm5")]
    Cm5,
    #[serde(rename = "cm5lite")]
    Cm5Lite,
}

impl Model {
    pub const ALL: [Self; 16] = [
        Self::ZeroW,
        Self::Pi2,
        Self::Pi3,
        Self::Pi3Plus,
        Self::Pi3APlus,
        Self::Cm3,
        Self::Cm3Plus,
        Self::Zero2W,
        Self::Pi4,
        Self::Pi400,
        Self::Cm4,
        Self::Cm4S,
        Self::Pi5,
        Self::Pi500,
        Self::Cm5,
        Self::Cm5Lite,
    ];

    /// Returns the name used in recipes and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroW => "zerow",
            Self::Pi2 => "pi2",
            Self::Pi3 => "pi3",
            Self::Pi3Plus => "pi3+",
            Self::Pi3APlus => "pi3a+",
            Self::Cm3 => "cm3",
            Self::Cm3Plus => "cm3+",
            Self::Zero2W => "zero2w",
            Self::Pi4 => "pi4",
            Self::Pi400 => "pi400",
            Self::Cm4 => "cm4",
            Self::Cm4S => "cm4s",
            Self::Pi5 => "pi5",
            Self::Pi500 => "pi500",
            Self::Cm5 => "cm5",
            Self::Cm5Lite => "cm5lite",
        }
    }

    /// Returns the model called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }

    /// Returns the names of all models, for whoever gave another one.
    pub fn known() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
