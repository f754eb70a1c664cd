//! Finds the calling user's own directories, and the key that seals what piimg trusts when it reads it again.
//!
//! Nothing that a recipe, a plugin or an image says leads here: the places follow from the environment and the system's
//! accounts alone, and must belong to the user.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use sha2::{Digest as _, Sha256};

use crate::error::{Context as _, Result};
use crate::host_files::{Directory, Links, fill_random};
use crate::ui::Printable as _;

/// Bytes of the key: those of the digest that it seals with.
const KEY_LENGTH: usize = 32;
/// Bytes of the block of SHA-256, which the construction of RFC 2104 needs.
const BLOCK: usize = 64;
/// The file of the key.
const KEY: &str = "seal.key";

/// The user's own directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    cache: PathBuf,
    state: PathBuf,
    config: PathBuf,
}

impl Home {
    /// Finds the directories of the user who runs this process, by the XDG variables
    /// (<https://specifications.freedesktop.org/basedir-spec/latest/>), `HOME`, or the account. Returns `None` if none
    /// of these is a directory of the user's.
    pub fn of_user() -> Option<Self> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let user = rustix::process::geteuid().as_raw();
        // `sudo` may leave the home of whoever called it: what root believes must not lie there.
        let is_own = |path: &PathBuf| path.is_absolute() && path.metadata().is_ok_and(|found| found.uid() == user);
        let account = || nix::unistd::User::from_uid(user.into()).ok().flatten().map(|account| account.dir);
        let home = variable("HOME").filter(is_own).or_else(|| account().filter(is_own));
        let place = |name, below: &str| {
            let named = variable(name).filter(|path| path.is_absolute() && (!path.exists() || is_own(path)));
            named.or_else(|| home.as_ref().map(|home| home.join(below)))
        };
        Some(Self {
            cache: place("XDG_CACHE_HOME", ".cache")?.join("piimg"),
            state: place("XDG_STATE_HOME", ".local/state")?.join("piimg"),
            config: place("XDG_CONFIG_HOME", ".config")?.join("piimg"),
        })
    }

    /// Places everything below one directory.
    pub fn at(directory: &Path) -> Self {
        let below = |name| directory.join(name);
        Self { cache: below("cache"), state: below("state"), config: below("config") }
    }

    /// Returns the directory of compiled plugins.
    pub fn compiled(&self) -> PathBuf {
        self.cache.join("compiled")
    }

    /// Returns the directory of the tools of Python plugins.
    pub fn python(&self) -> PathBuf {
        self.cache.join("python")
    }

    /// Returns the path of the user's configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// Returns the user's key, if there is one.
    ///
    /// # Errors
    /// If somebody else could know it, or it cannot be read.
    pub fn key(&self) -> Result<Option<Key>> {
        let Ok(directory) = Directory::open(&self.state, Links::Followed) else { return Ok(None) };
        let named = || format!("cannot use the key `{}`", self.state.join(KEY).printable());
        check_own(&directory.stat().with_context(named)?).with_context(named)?;
        let Some(file) = directory.open_file(KEY).with_context(named)? else { return Ok(None) };
        Key::read(&file).with_context(named).map(Some)
    }

    /// Returns the user's key, and makes it if it does not exist.
    ///
    /// # Errors
    /// Those of [`Home::key`], and if it cannot be written.
    pub fn key_or_new(&self) -> Result<Key> {
        if let Some(key) = self.key()? {
            return Ok(key);
        }
        let named = || format!("cannot make the key `{}`", self.state.join(KEY).printable());
        let directory = Directory::create(&self.state, Links::Followed, 0o700).with_context(named)?;
        check_own(&directory.stat().with_context(named)?).with_context(named)?;
        let mut bytes = [0; KEY_LENGTH];
        fill_random(&mut bytes).with_context(named)?;
        let fresh = format!("{KEY}.{}", hex::encode(&Sha256::digest(bytes)[..8]));
        directory.replace_with(&fresh, &bytes, Mode::RUSR | Mode::WUSR, |_| Ok(())).with_context(named)?;
        // Two may be at it: what one of them has sealed already, the other's key must not make worthless.
        let is_first = directory.rename_if_free(&fresh, KEY).with_context(named)?;
        directory.remove(&fresh).with_context(named)?;
        if is_first { Ok(Key(bytes)) } else { self.key()?.with_context(named) }
    }
}

/// Checks that what is found is the user's, and that nobody else can write to it. The mode covers access control lists too:
/// their mask is its group part.
pub(crate) fn check_own(stat: &rustix::fs::Stat) -> Result<()> {
    check_owner(stat.st_uid, stat.st_mode, rustix::process::geteuid().as_raw())
}

fn check_owner(owner: u32, mode: u32, user: u32) -> Result<()> {
    anyhow::ensure!(owner == user, "it belongs to another user; remove it");
    anyhow::ensure!(mode & 0o022 == 0, "others can write to it; remove it");
    Ok(())
}

/// A key that only this user knows.
#[derive(Clone)]
pub struct Key([u8; KEY_LENGTH]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[key]")
    }
}

impl Key {
    fn read(file: &File) -> Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        check_own(&stat)?;
        anyhow::ensure!(stat.st_mode & 0o077 == 0, "others can read it; remove it");
        let mut bytes = Vec::new();
        file.take(KEY_LENGTH as u64 + 1).read_to_end(&mut bytes)?;
        let bytes = bytes.try_into().ok().context("it is no key of piimg's; remove it")?;
        Ok(Self(bytes))
    }

    /// Begins a seal on something of that kind: one kind is never taken for another.
    pub(crate) fn seal(&self, kind: &str) -> Seal {
        Seal::new(&self.0).and(kind).and("\0")
    }
}

/// A keyed digest: HMAC with SHA-256, by RFC 2104.
pub(crate) struct Seal {
    inner: Sha256,
    outer: Sha256,
}

impl Seal {
    fn new(key: &[u8]) -> Self {
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Sha256::new().chain_update(block)
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    pub(crate) fn and(mut self, data: impl AsRef<[u8]>) -> Self {
        self.inner.update(data);
        self
    }

    /// Adds all that can be read.
    pub(crate) fn and_content(mut self, mut content: impl std::io::Read) -> std::io::Result<Self> {
        std::io::copy(&mut content, &mut self.inner)?;
        Ok(self)
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.outer.chain_update(self.inner.finalize()).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_seal_is_an_hmac() {
        // RFC 4231, test cases 1 and 2, whose keys are no longer than a block.
        for (key, data, expected) in [
            (&[0x0b; 20][..], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
        ] {
            assert_eq!(hex::encode(Seal::new(key).and(data).finish()), expected);
        }
        let key = Key([7; KEY_LENGTH]);
        assert_ne!(key.seal("a").and("bc").finish(), key.seal("ab").and("c").finish());
    }

    #[test]
    fn the_key_is_made_once_and_is_the_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        assert!(home.key().unwrap().is_none());
        let key = home.key_or_new().unwrap();
        assert_eq!(home.key_or_new().unwrap().0, key.0);
        assert_eq!(home.key().unwrap().unwrap().0, key.0);
        let file = dir.path().join("state/seal.key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("state")).unwrap().count(), 1);
        let refused = |why: &str| {
            let error = format!("{:#}", home.key_or_new().unwrap_err());
            assert!(error.contains(why) && error.contains("seal.key"), "{error}");
        };
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        refused("others can read it; remove it");
        fs::rename(&file, dir.path().join("moved")).unwrap();
        symlink(dir.path().join("moved"), &file).unwrap();
        refused("symbolic link");
        fs::remove_file(&file).unwrap();
        fs::write(&file, "short").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        refused("it is no key of piimg's; remove it");
        fs::set_permissions(dir.path().join("state"), fs::Permissions::from_mode(0o777)).unwrap();
        refused("others can write to it; remove it");
    }

    #[test]
    fn only_the_owner_may_be_able_to_write() {
        for (owner, mode, user, refusal) in [
            (7, 0o100_600, 7, None),
            (0, 0o40_755, 0, None),
            (7, 0o100_600, 0, Some("it belongs to another user; remove it")),
            (0, 0o100_644, 7, Some("it belongs to another user; remove it")),
            (7, 0o100_620, 7, Some("others can write to it; remove it")),
            (7, 0o41_777, 7, Some("others can write to it; remove it")),
        ] {
            let found = check_owner(owner, mode, user).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), refusal, "{owner} {mode:o} {user}");
        }
    }
}
