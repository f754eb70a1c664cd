//! Lists the host functions of the contract, one row each: the single place for what audits, conflicts, logs and limits
//! know about a function. A call without a row does not compile, and a test demands a row for each function of the
//! contract.

use std::collections::BTreeSet;

use super::capability::{Kind, kinds, service, user};

/// Facts about a host function.
#[derive(Debug)]
pub struct Function {
    /// `interface.function`, as the contract has it.
    pub name: &'static str,
    /// The kinds of capabilities of which a call may need one or more.
    pub needs: &'static [&'static Kind],
    pub effect: Effects,
    pub time: Time,
}

impl Function {
    /// Returns whether some call of it is allowed to who has capabilities of these kinds.
    pub fn can_be_called(&self, is_held: impl Fn(&Kind) -> bool) -> bool {
        let mut needs = self.needs.iter().map(|kind| is_held(kind));
        match self.name {
            // Each state of a unit has a kind of its own.
            "services.set-state" => needs.any(|held| held),
            // Groups are needed only for users that are in some.
            "users.ensure-user" => needs.next() == Some(true),
            _ => needs.all(|held| held),
        }
    }
}

/// Effect on existing content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effects {
    /// It stays as it is, or a part of it is changed.
    Keeps,
    /// Something else is put in its place, or nothing.
    Replaces,
}

/// Whose time a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// piimg's alone: copying and hashing.
    Own,
    /// Time of a program or a server, which has a limit of its own.
    Others,
}

/// The call needs no capability: it says what the plugin knows anyway, or what it was handed over.
const NOTHING: &[&Kind] = &[];

use Effects::{Keeps, Replaces};
use Time::{Others, Own};

/// Hands all rows to the macro `$with`, in the order of the contract: here it makes the table, and whoever has the calls as
/// data makes a match of it that the compiler knows to be complete.
#[macro_export]
#[rustfmt::skip] // A row, a line.
macro_rules! for_each_host_function {
    ($with:ident) => { $with! {
        Log                = "log.write", NOTHING, Keeps, Own;
        Panicked           = "log.panicked", NOTHING, Keeps, Own;
        // Standard output and standard error, which are the engine's.
        Printed            = "stdio.write", NOTHING, Keeps, Own;
        Image              = "context.image", NOTHING, Keeps, Own;
        Param              = "context.param", NOTHING, Keeps, Own;
        Granted            = "context.granted", NOTHING, Keeps, Own;
        BlobSize           = "blobs.size", NOTHING, Keeps, Own;
        BlobDigest         = "blobs.digest", NOTHING, Keeps, Own;
        BlobRead           = "blobs.read", NOTHING, Keeps, Own;
        BlobDrop           = "blobs.drop", NOTHING, Keeps, Own;
        BlobFromBytes      = "blobs.from-bytes", NOTHING, Keeps, Own;
        AssetNames         = "assets.names", NOTHING, Keeps, Own;
        AssetOpen          = "assets.open", &[&kinds::ASSET], Keeps, Own;
        Stat               = "fs.stat", &[&kinds::READ], Keeps, Own;
        ReadText           = "fs.read-text", &[&kinds::READ], Keeps, Own;
        Read               = "fs.read", &[&kinds::READ], Keeps, Own;
        ListDir            = "fs.list-dir", &[&kinds::READ], Keeps, Own;
        Write              = "fs.write", &[&kinds::WRITE], Replaces, Own;
        Install            = "fs.install", &[&kinds::WRITE], Replaces, Own;
        Unpack             = "fs.unpack", &[&kinds::WRITE], Replaces, Own;
        MakeDir            = "fs.mkdir", &[&kinds::WRITE], Keeps, Own;
        Symlink            = "fs.symlink", &[&kinds::WRITE], Replaces, Own;
        // Renaming makes content readable at another path.
        Rename             = "fs.rename", &[&kinds::READ, &kinds::WRITE], Replaces, Own;
        SetAttrs           = "fs.set-attrs", &[&kinds::WRITE], Keeps, Own;
        SetOwner           = "fs.set-owner", &[&kinds::WRITE], Keeps, Own;
        Remove             = "fs.remove", &[&kinds::WRITE], Replaces, Own;
        // These two return what they found.
        EnsureLine         = "fs.ensure-line", &[&kinds::READ, &kinds::WRITE], Keeps, Own;
        Replace            = "fs.replace", &[&kinds::READ, &kinds::WRITE], Keeps, Own;
        Run                = "process.run", &[&kinds::EXEC], Keeps, Others;
        InstallPackages    = "packages.install", &[&kinds::INSTALL], Keeps, Others;
        RemovePackages     = "packages.remove", &[&kinds::REMOVE], Keeps, Others;
        QueryPackage       = "packages.query", NOTHING, Keeps, Own;
        PinPackages        = "wishes.set-pins", &[&kinds::PIN], Keeps, Others;
        AnswerQuestions    = "wishes.set-answers", &[&kinds::DEBCONF], Keeps, Others;
        ConfigValues       = "boot-config.values", &[&kinds::CONFIG], Keeps, Own;
        ConfigSet          = "boot-config.set", &[&kinds::CONFIG], Keeps, Own;
        ConfigAdd          = "boot-config.add", &[&kinds::CONFIG], Keeps, Own;
        ConfigRemove       = "boot-config.remove", &[&kinds::CONFIG], Keeps, Own;
        Parameters         = "boot-config.parameters", &[&kinds::CMDLINE], Keeps, Own;
        SetParameter       = "boot-config.set-parameter", &[&kinds::CMDLINE], Keeps, Own;
        AddParameter       = "boot-config.add-parameter", &[&kinds::CMDLINE], Keeps, Own;
        RemoveParameter    = "boot-config.remove-parameter", &[&kinds::CMDLINE], Keeps, Own;
        InstallUnit        = "services.install-unit", &[&service::INSTALL], Replaces, Own;
        DropIn             = "services.drop-in", &[&service::INSTALL], Replaces, Own;
        SetUnitState       = "services.set-state", &[&service::ENABLE, &service::DISABLE, &service::MASK], Keeps, Own;
        EnsureUser         = "users.ensure-user", &[&user::CREATE, &user::GROUP], Keeps, Own;
        EnsureGroup        = "users.ensure-group", &[&user::GROUP], Keeps, Own;
        AuthorizeKeys      = "users.authorize-keys", &[&user::KEYS], Keeps, Own;
        SetPasswordFrom    = "users.set-password-from", &[&user::PASSWORD, &kinds::SECRET], Keeps, Own;
        Fetch              = "net.fetch", &[&kinds::NET], Keeps, Others;
        FetchAuthorized    = "net.fetch-authorized", &[&kinds::NET, &kinds::SECRET], Keeps, Others;
        Checkout           = "git.checkout", &[&kinds::NET, &kinds::WRITE], Keeps, Others;
        CheckoutAuthorized = "git.checkout-authorized", &[&kinds::NET, &kinds::WRITE, &kinds::SECRET], Keeps, Others;
    } };
}

macro_rules! table {
    ($($call:ident = $name:literal, $needs:expr, $effect:ident, $time:ident;)*) => {
        /// Names of the rows, which are those of the calls.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Row { $($call,)* }

        /// All of them, in the order of the contract.
        pub const FUNCTIONS: &[Function] =
            &[$(Function { name: $name, needs: $needs, effect: $effect, time: $time },)*];
    };
}
for_each_host_function!(table);

impl Row {
    /// Returns the host function of this row.
    pub fn function(self) -> &'static Function {
        &FUNCTIONS[self as usize]
    }
}

/// The function that runs commands.
pub const RUN: &str = "process.run";

/// Returns the function of that name.
pub fn by_name(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Returns the function of a call as reports have it: its name, and an argument.
pub fn of_call(call: &str) -> Option<&'static Function> {
    by_name(call.split(' ').next().unwrap_or_default())
}

/// Returns whether any of the functions, by name, can use a capability of that kind.
pub fn use_kind(names: &BTreeSet<String>, kind: &Kind) -> bool {
    let needs = |function: &Function| function.needs.contains(&kind);
    names.iter().any(|name| by_name(name).is_some_and(needs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_may_need_one_kind_of_several() {
        let callable =
            |name: &str, held: &[&str]| by_name(name).unwrap().can_be_called(|kind| held.contains(&kind.name));
        assert!(callable("fs.rename", &["fs:read", "fs:write"]) && !callable("fs.rename", &["fs:write"]));
        assert!(callable("services.set-state", &["svc:mask"]) && !callable("services.set-state", &["svc:install"]));
        assert!(callable("users.ensure-user", &["user:create"]) && !callable("users.ensure-user", &["user:group"]));
        assert!(callable("log.write", &[]));
    }

    /// What comes for the asking proves nothing by its absence; of all else some function must make use.
    #[test]
    fn a_kind_is_used_by_a_function_or_comes_for_the_asking() {
        for kind in Kind::all() {
            let is_used = FUNCTIONS.iter().any(|function| function.needs.contains(&kind));
            assert_eq!(is_used, kind.cannot.is_some(), "{}", kind.name);
        }
    }

    /// The contract says in words what each function needs; this is what plugin authors read.
    #[test]
    fn the_contract_names_what_a_function_needs() {
        for function in FUNCTIONS.iter().filter(|function| function.name != "stdio.write") {
            let (interface, name) = function.name.split_once('.').unwrap();
            let file = format!("{}/../../wit/{interface}.wit", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&file).unwrap();
            let Some(at) = text.lines().position(|line| line.trim_start().starts_with(&format!("{name}: func"))) else {
                assert_eq!(function.name, "blobs.drop");
                continue;
            };
            let lines: Vec<&str> = text.lines().take(at).collect();
            let words: Vec<&str> =
                lines.iter().rev().map(|line| line.trim()).take_while(|line| line.starts_with(['/', '@'])).collect();
            for kind in function.needs {
                assert!(
                    words.iter().any(|line| line.contains(&format!("`{}", kind.name))),
                    "{}: {words:?}",
                    function.name
                );
            }
            if function.needs.is_empty() {
                assert!(!words.iter().any(|line| line.contains("Needs `")), "{}: {words:?}", function.name);
            }
        }
    }
}
