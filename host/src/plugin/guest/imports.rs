//! Implements the imports of a component: each becomes one [`Call`].

use wasmtime::component::Resource;

use super::State;
use super::bindings::BlobHandle;
use super::bindings::piimg::plugin::{
    assets, blobs, boot_config, context, fs, git, log, net, packages, process, services, types, users, wishes,
};
use crate::plugin::protocol::{Call, Checkout, Owner, Reply};

type Blob = Resource<BlobHandle>;
type Answer<T> = wasmtime::Result<Result<T, types::Error>>;

fn mismatch() -> wasmtime::Error {
    wasmtime::Error::msg("the host's side gave an answer to another question")
}

/// Asks, and takes the one kind of answer that belongs to the question.
macro_rules! ask {
    ($state:expr, $call:expr, $reply:pat => $value:expr) => {
        match $state.port.ask($call) {
            $reply => Ok(Ok($value)),
            Reply::Failed(error) => Ok(Err(error.into())),
            Reply::Stop(why) => Err(wasmtime::Error::msg(why)),
            _ => Err(mismatch()),
        }
    };
}

/// Does the same as `ask!`, for functions that cannot fail.
macro_rules! ask_plain {
    ($state:expr, $call:expr, $reply:pat => $value:expr) => {
        match $state.port.ask($call) {
            $reply => Ok($value),
            Reply::Stop(why) => Err(wasmtime::Error::msg(why)),
            _ => Err(mismatch()),
        }
    };
}

impl types::Host for State {}
impl super::bindings::piimg::plugin::manifest::Host for State {}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        ask_plain!(self, Call::Log { level: level.into(), message }, Reply::Done => ())
    }

    fn panicked(&mut self, message: String, location: String) -> wasmtime::Result<()> {
        ask_plain!(self, Call::Panicked { message, location }, Reply::Done => ())
    }
}

impl context::Host for State {
    fn image(&mut self) -> wasmtime::Result<context::ImageInfo> {
        ask_plain!(self, Call::Image, Reply::Image(image) => image.into())
    }

    fn param(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        ask_plain!(self, Call::Param { name }, Reply::MaybeText(value) => value)
    }

    fn granted(&mut self, scope: String) -> wasmtime::Result<bool> {
        ask_plain!(self, Call::Granted { scope }, Reply::Bool(granted) => granted)
    }
}

impl blobs::HostBlob for State {
    fn size(&mut self, blob: Blob) -> wasmtime::Result<u64> {
        ask_plain!(self, Call::BlobSize { blob: blob.rep() }, Reply::Count(size) => size)
    }

    fn digest(&mut self, blob: Blob) -> Answer<String> {
        ask!(self, Call::BlobDigest { blob: blob.rep() }, Reply::Text(digest) => digest)
    }

    fn read(&mut self, blob: Blob, offset: u64, length: u32) -> Answer<Vec<u8>> {
        ask!(self, Call::BlobRead { blob: blob.rep(), offset, length }, Reply::Bytes(data) => data)
    }

    fn drop(&mut self, blob: Blob) -> wasmtime::Result<()> {
        ask_plain!(self, Call::BlobDrop { blob: blob.rep() }, Reply::Done => ())
    }
}

impl blobs::Host for State {
    fn from_bytes(&mut self, data: Vec<u8>) -> Answer<Blob> {
        ask!(self, Call::BlobFromBytes { data }, Reply::Blob(blob) => Resource::new_own(blob))
    }
}

impl assets::Host for State {
    fn names(&mut self) -> wasmtime::Result<Vec<String>> {
        ask_plain!(self, Call::AssetNames, Reply::Texts(names) => names)
    }

    fn open(&mut self, name: String) -> Answer<Blob> {
        ask!(self, Call::AssetOpen { name }, Reply::Blob(blob) => Resource::new_own(blob))
    }
}

impl fs::Host for State {
    fn stat(&mut self, path: String) -> Answer<Option<fs::Metadata>> {
        ask!(self, Call::Stat { path }, Reply::Metadata(metadata) => metadata.map(Into::into))
    }

    fn read_text(&mut self, path: String) -> Answer<String> {
        ask!(self, Call::ReadText { path }, Reply::Text(text) => text)
    }

    fn read(&mut self, path: String) -> Answer<Blob> {
        ask!(self, Call::Read { path }, Reply::Blob(blob) => Resource::new_own(blob))
    }

    fn list_dir(&mut self, path: String) -> Answer<Vec<fs::Entry>> {
        let entry = |(name, kind): (String, crate::plugin::protocol::FileKind)| fs::Entry { name, kind: kind.into() };
        ask!(self, Call::ListDir { path }, Reply::Entries(entries) => entries.into_iter().map(entry).collect())
    }

    fn write(&mut self, path: String, data: Vec<u8>, attrs: Option<types::FileAttrs>) -> Answer<()> {
        ask!(self, Call::Write { path, data, attrs: attrs.map(Into::into) }, Reply::Done => ())
    }

    fn install(&mut self, source: Blob, dest: String, attrs: Option<types::FileAttrs>) -> Answer<()> {
        ask!(self, Call::Install { blob: source.rep(), dest, attrs: attrs.map(Into::into) }, Reply::Done => ())
    }

    fn unpack(&mut self, source: Blob, dest: String, owner: Option<types::Owner>, strip: u32) -> Answer<u32> {
        let owner = owner.map(|owner| Owner { user: owner.user, group: owner.group });
        let call = Call::Unpack { blob: source.rep(), dest, owner, strip };
        ask!(self, call, Reply::Count(count) => u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn mkdir(&mut self, path: String, attrs: Option<types::FileAttrs>, parents: bool) -> Answer<()> {
        ask!(self, Call::MakeDir { path, attrs: attrs.map(Into::into), parents }, Reply::Done => ())
    }

    fn symlink(&mut self, path: String, target: String) -> Answer<()> {
        ask!(self, Call::Symlink { path, target }, Reply::Done => ())
    }

    fn rename(&mut self, source: String, dest: String) -> Answer<()> {
        ask!(self, Call::Rename { source, dest }, Reply::Done => ())
    }

    fn set_attrs(&mut self, path: String, attrs: types::FileAttrs, recursive: bool) -> Answer<()> {
        ask!(self, Call::SetAttrs { path, attrs: attrs.into(), recursive }, Reply::Done => ())
    }

    fn set_owner(&mut self, path: String, owner: types::Owner, recursive: bool) -> Answer<()> {
        let owner = Owner { user: owner.user, group: owner.group };
        ask!(self, Call::SetOwner { path, owner, recursive }, Reply::Done => ())
    }

    fn remove(&mut self, path: String, recursive: bool) -> Answer<()> {
        ask!(self, Call::Remove { path, recursive }, Reply::Done => ())
    }

    fn ensure_line(&mut self, path: String, line: String, place: fs::Place) -> Answer<bool> {
        ask!(self, Call::EnsureLine { path, line, place: place.into() }, Reply::Bool(added) => added)
    }

    fn replace(&mut self, path: String, old: String, new: String) -> Answer<u32> {
        ask!(self, Call::Replace { path, old, new }, Reply::Count(count) => u32::try_from(count).unwrap_or(u32::MAX))
    }
}

impl process::Host for State {
    fn run(&mut self, command: process::Command, stdin: Option<Blob>) -> Answer<process::Outcome> {
        let call = Call::Run { command: command.into(), stdin: stdin.map(|blob| blob.rep()) };
        ask!(self, call, Reply::Outcome(outcome) => outcome.into())
    }
}

impl packages::Host for State {
    fn install(&mut self, specs: Vec<String>, recommends: bool) -> Answer<Vec<packages::Installed>> {
        let call = Call::InstallPackages { specs, recommends };
        ask!(self, call, Reply::Packages(packages) => packages.into_iter().map(Into::into).collect())
    }

    fn remove(&mut self, names: Vec<String>, purge: bool) -> Answer<()> {
        ask!(self, Call::RemovePackages { names, purge }, Reply::Done => ())
    }

    fn query(&mut self, name: String) -> Answer<Option<packages::Installed>> {
        ask!(self, Call::QueryPackage { name }, Reply::Package(package) => package.map(Into::into))
    }
}

impl wishes::Host for State {
    fn set_pins(&mut self, pins: Vec<wishes::Pin>) -> Answer<()> {
        ask!(self, Call::PinPackages { pins: pins.into_iter().map(Into::into).collect() }, Reply::Done => ())
    }

    fn set_answers(&mut self, answers: Vec<wishes::Answer>) -> Answer<()> {
        let call = Call::AnswerQuestions { answers: answers.into_iter().map(Into::into).collect() };
        ask!(self, call, Reply::Done => ())
    }
}

impl boot_config::Host for State {
    fn values(&mut self, section: Option<String>, key: String) -> Answer<Vec<String>> {
        ask!(self, Call::ConfigValues { section, key }, Reply::Texts(values) => values)
    }

    fn set(&mut self, section: Option<String>, key: String, value: String) -> Answer<()> {
        ask!(self, Call::ConfigSet { section, key, value }, Reply::Done => ())
    }

    fn add(&mut self, section: Option<String>, key: String, value: String) -> Answer<bool> {
        ask!(self, Call::ConfigAdd { section, key, value }, Reply::Bool(added) => added)
    }

    fn remove(&mut self, section: Option<String>, key: String, value: Option<String>) -> Answer<u32> {
        let call = Call::ConfigRemove { section, key, value };
        ask!(self, call, Reply::Count(count) => u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn parameters(&mut self, name: String) -> Answer<Vec<String>> {
        ask!(self, Call::Parameters { name }, Reply::Texts(parameters) => parameters)
    }

    fn set_parameter(&mut self, parameter: String) -> Answer<()> {
        ask!(self, Call::SetParameter { parameter }, Reply::Done => ())
    }

    fn add_parameter(&mut self, parameter: String) -> Answer<bool> {
        ask!(self, Call::AddParameter { parameter }, Reply::Bool(added) => added)
    }

    fn remove_parameter(&mut self, name: String) -> Answer<u32> {
        let call = Call::RemoveParameter { name };
        ask!(self, call, Reply::Count(count) => u32::try_from(count).unwrap_or(u32::MAX))
    }
}

impl services::Host for State {
    fn install_unit(&mut self, name: String, text: String) -> Answer<()> {
        ask!(self, Call::InstallUnit { name, text }, Reply::Done => ())
    }

    fn drop_in(&mut self, unit: String, name: String, text: String) -> Answer<()> {
        ask!(self, Call::DropIn { unit, name, text }, Reply::Done => ())
    }

    fn set_state(&mut self, unit: String, state: services::State) -> Answer<bool> {
        ask!(self, Call::SetUnitState { unit, state: state.into() }, Reply::Bool(changed) => changed)
    }
}

impl users::Host for State {
    fn ensure_user(&mut self, account: users::Account) -> Answer<bool> {
        ask!(self, Call::EnsureUser { account: account.into() }, Reply::Bool(changed) => changed)
    }

    fn ensure_group(&mut self, name: String, gid: Option<u32>, system: bool) -> Answer<bool> {
        ask!(self, Call::EnsureGroup { name, gid, system }, Reply::Bool(made) => made)
    }

    fn authorize_keys(&mut self, user: String, keys: Vec<String>) -> Answer<u32> {
        let call = Call::AuthorizeKeys { user, keys };
        ask!(self, call, Reply::Count(count) => u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn set_password_from(&mut self, user: String, secret: String) -> Answer<bool> {
        ask!(self, Call::SetPasswordFrom { user, secret }, Reply::Bool(changed) => changed)
    }
}

impl net::Host for State {
    fn fetch_authorized(
        &mut self,
        url: String,
        digest: String,
        secret: String,
        scheme: net::Authorization,
    ) -> Answer<Blob> {
        let call = Call::FetchAuthorized { url, digest, secret, scheme: scheme.into() };
        ask!(self, call, Reply::Blob(blob) => Resource::new_own(blob))
    }

    fn fetch(&mut self, url: String, digest: String) -> Answer<Blob> {
        ask!(self, Call::Fetch { url, digest }, Reply::Blob(blob) => Resource::new_own(blob))
    }
}

impl git::Host for State {
    fn checkout(&mut self, url: String, commit: String, path: String, owner: Option<git::Owner>) -> Answer<u32> {
        let call = Call::Checkout { checkout: checkout(url, commit, path, owner) };
        ask!(self, call, Reply::Count(count) => u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn checkout_authorized(
        &mut self,
        url: String,
        commit: String,
        path: String,
        owner: Option<git::Owner>,
        user: String,
        secret: String,
    ) -> Answer<u32> {
        let call = Call::CheckoutAuthorized { checkout: checkout(url, commit, path, owner), user, secret };
        ask!(self, call, Reply::Count(count) => u32::try_from(count).unwrap_or(u32::MAX))
    }
}

fn checkout(url: String, commit: String, path: String, owner: Option<git::Owner>) -> Checkout {
    Checkout { url, commit, path, owner: owner.map(|owner| (owner.user, owner.group)) }
}
