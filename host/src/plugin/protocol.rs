//! Defines the messages between the guest's side, which runs the component, and the host's side, which has the gate and
//! the build. They are plain data, since the two are different processes; nothing from the guest's side is trusted.

use serde::{Deserialize, Serialize};

use piimg_capability::functions::{Function, Row};

use super::workbench::{CallError, Command, InstalledPackage, Outcome};
use crate::recipe::{debconf, pin};
use crate::secret::Scheme;

/// A call of a host function, or something to be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    Log {
        level: Level,
        message: String,
    },
    /// A line of the plugin's standard output or standard error.
    Printed {
        error: bool,
        line: String,
    },
    Panicked {
        message: String,
        location: String,
    },
    Image,
    Param {
        name: String,
    },
    Granted {
        scope: String,
    },
    BlobSize {
        blob: u32,
    },
    BlobDigest {
        blob: u32,
    },
    BlobRead {
        blob: u32,
        offset: u64,
        length: u32,
    },
    BlobDrop {
        blob: u32,
    },
    BlobFromBytes {
        #[serde(with = "passed")]
        data: Vec<u8>,
    },
    AssetNames,
    AssetOpen {
        name: String,
    },
    Stat {
        path: String,
    },
    ReadText {
        path: String,
    },
    Read {
        path: String,
    },
    ListDir {
        path: String,
    },
    Write {
        path: String,
        #[serde(with = "passed")]
        data: Vec<u8>,
        attrs: Option<FileAttrs>,
    },
    Install {
        blob: u32,
        dest: String,
        attrs: Option<FileAttrs>,
    },
    Unpack {
        blob: u32,
        dest: String,
        /// User and group; root if none.
        owner: Option<Owner>,
        strip: u32,
    },
    MakeDir {
        path: String,
        attrs: Option<FileAttrs>,
        parents: bool,
    },
    Symlink {
        path: String,
        target: String,
    },
    Rename {
        source: String,
        dest: String,
    },
    SetAttrs {
        path: String,
        attrs: FileAttrs,
        recursive: bool,
    },
    SetOwner {
        path: String,
        owner: Owner,
        recursive: bool,
    },
    Remove {
        path: String,
        recursive: bool,
    },
    EnsureLine {
        path: String,
        line: String,
        place: Place,
    },
    Replace {
        path: String,
        old: String,
        new: String,
    },
    Run {
        command: Command,
        stdin: Option<u32>,
    },
    InstallPackages {
        specs: Vec<String>,
        recommends: bool,
    },
    RemovePackages {
        names: Vec<String>,
        purge: bool,
    },
    PinPackages {
        pins: Vec<pin::Unchecked>,
    },
    AnswerQuestions {
        answers: Vec<debconf::Unchecked>,
    },
    QueryPackage {
        name: String,
    },
    ConfigValues {
        section: Option<String>,
        key: String,
    },
    ConfigSet {
        section: Option<String>,
        key: String,
        value: String,
    },
    ConfigAdd {
        section: Option<String>,
        key: String,
        value: String,
    },
    ConfigRemove {
        section: Option<String>,
        key: String,
        value: Option<String>,
    },
    Parameters {
        name: String,
    },
    SetParameter {
        parameter: String,
    },
    AddParameter {
        parameter: String,
    },
    RemoveParameter {
        name: String,
    },
    InstallUnit {
        name: String,
        text: String,
    },
    DropIn {
        unit: String,
        name: String,
        text: String,
    },
    SetUnitState {
        unit: String,
        state: UnitState,
    },
    EnsureUser {
        account: Account,
    },
    EnsureGroup {
        name: String,
        gid: Option<u32>,
        system: bool,
    },
    AuthorizeKeys {
        user: String,
        keys: Vec<String>,
    },
    SetPasswordFrom {
        user: String,
        secret: String,
    },
    Fetch {
        url: String,
        digest: String,
    },
    FetchAuthorized {
        url: String,
        digest: String,
        secret: String,
        scheme: Scheme,
    },
    Checkout {
        checkout: Checkout,
    },
    CheckoutAuthorized {
        checkout: Checkout,
        user: String,
        secret: String,
    },
}

/// Defines which row of the table of host functions a call has.
macro_rules! rows {
    ($($call:ident = $name:literal, $needs:expr, $effect:ident, $time:ident;)*) => {
        impl Call {
            /// Returns the host function that is called.
            pub fn function(&self) -> &'static Function {
                match self {
                    $(Self::$call { .. } => Row::$call,)*
                }
                .function()
            }
        }
    };
}
piimg_capability::for_each_host_function!(rows);

/// Bytes that a plugin passes: whole between the processes, by length and digest in the log, which people read.
mod passed {
    use serde::ser::SerializeStruct as _;
    use serde::{Deserializer, Serializer};
    use sha2::{Digest as _, Sha256};

    pub(super) fn serialize<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serde_bytes::serialize(data, serializer);
        }
        let mut out = serializer.serialize_struct("Bytes", 2)?;
        out.serialize_field("bytes", &data.len())?;
        out.serialize_field("sha256", &hex::encode(Sha256::digest(data)))?;
        out.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        serde_bytes::deserialize(deserializer)
    }
}

/// Result of a call; each call has one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Bool(bool),
    Count(u64),
    Text(String),
    MaybeText(Option<String>),
    Texts(Vec<String>),
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    Blob(u32),
    Image(ImageInfo),
    Metadata(Option<Metadata>),
    Entries(Vec<(String, FileKind)>),
    Outcome(Outcome),
    Packages(Vec<InstalledPackage>),
    Package(Option<InstalledPackage>),
    Failed(CallError),
    /// The run is over: the plugin used up what it may ask for.
    Stop(String),
}

/// Level of a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// User and group, by name or number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub user: String,
    pub group: String,
}

/// Mode and owner by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAttrs {
    pub mode: u32,
    pub user: String,
    pub group: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    File,
    Directory,
    Symlink,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub kind: FileKind,
    pub size: u64,
    pub attrs: FileAttrs,
    pub target: Option<String>,
}

/// Position of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Start,
    End,
    Before(String),
    After(String),
    InsteadOf(String),
}

/// A user as it shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub uid: Option<u32>,
    pub home: Option<String>,
    pub shell: Option<String>,
    pub groups: Vec<String>,
    pub system: bool,
}

/// A commit of a repository, and where its files go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    pub url: String,
    pub commit: String,
    pub path: String,
    /// User and group; root if none.
    pub owner: Option<(String, String)>,
}

/// Requested state of a systemd unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitState {
    Enabled,
    Disabled,
    Masked,
    Unmasked,
}

/// The image that is being built, as plugins see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Debian's name, such as `arm64`.
    pub architecture: String,
    /// `debian`, `ubuntu` or `raspberry-pi-os`.
    pub distribution: String,
    pub release: String,
    pub hostname: String,
    pub flavour: String,
    /// Seconds since 1970.
    pub epoch: u64,
}
