//! Compiled components: what they are worth trusting for, and where they are kept between builds.
//!
//! Native code does whatever it is made of, so it comes from three places only: a compiler that the caller provides, the
//! calling user's own cache ([`crate::home`]), and the outer process of the same build. Never from a store, which a recipe
//! may name, nor from a file that a user names. What is kept is sealed with a key that only this user has: whoever can put a
//! file there, in a cache that is carried from one machine to another perhaps, can still not choose the code. Even so it is only data here: a hole in the compiler would let a component choose what it is
//! compiled to, so code is loaded by workers alone ([`super::worker`]), which can do nothing. What a component was
//! compiled to is kept under that component's digest, so it can harm no other.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Read, Seek as _, Write as _};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Mode, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;
use wasmtime::Engine;

use crate::error::{Context as _, Failure, Result};
use crate::home::{Home, Key, check_own};
use crate::host_files::{Directory, Links};
use crate::sealed;

/// Most files that are kept: some tens of plugins in the versions of a few weeks.
const MAX_FILES: usize = 64;
/// Seconds after which a file that no build has used is dropped.
const MAX_AGE: i64 = 30 * 86_400;
/// Bytes after the code in a kept file: the seal on name and code.
const SEAL: u64 = 32;

/// Native code of one component for one engine: a file in memory that cannot change any more, which the engine maps and
/// the outer process passes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Code {
    key: String,
    /// None where only the data of a plugin is known.
    file: Option<Arc<File>>,
    /// It came out of a [`CodeCache`].
    is_kept: bool,
}

impl Code {
    fn new(key: String, mut code: impl Read) -> Result<Self> {
        let mut file = empty_file()?;
        std::io::copy(&mut code, &mut file).context(NO_MEMORY)?;
        Self::sealed(key, file)
    }

    /// Of a file that nobody else writes to any more.
    fn sealed(key: String, file: File) -> Result<Self> {
        sealed::seal(&file)?;
        Ok(Self { key, file: Some(Arc::new(file)), is_kept: false })
    }

    /// Reads what [`Code::write_to`] wrote; none if it was for another component or sealed with another key, or is damaged.
    fn read_from(mut file: &File, key: &str, user: &Key) -> Result<Option<Self>> {
        let Some(length) = file.metadata()?.len().checked_sub(SEAL) else { return Ok(None) };
        let code = Self::new(key.to_owned(), file.take(length))?;
        let mut found = Vec::new();
        file.read_to_end(&mut found)?;
        let is_whole = found == code.seal(user)?;
        Ok(is_whole.then_some(Self { is_kept: true, ..code }))
    }

    fn write_to(&self, mut file: &File, user: &Key) -> Result<()> {
        let mut code = self.file()?;
        code.rewind()?;
        std::io::copy(&mut code, &mut file)?;
        Ok(file.write_all(&self.seal(user)?)?)
    }

    fn seal(&self, user: &Key) -> Result<[u8; 32]> {
        let mut code = self.file()?;
        code.rewind()?;
        Ok(user.seal("compiled plugin").and(&self.key).and("\n").and_file(code)?.finish())
    }

    /// What the inner process gets, and gives to [`Code::from_file`].
    pub(super) fn file(&self) -> Result<&File> {
        self.file.as_deref().context(Failure::bug("the plugin is not compiled"))
    }

    /// Only for a descriptor that the outer process of this build passed on.
    pub(super) fn from_file(file: File) -> Result<Self> {
        let wrong = || Failure::bug("what was passed on is no compiled plugin");
        // Only a file in memory has seals: no path leads to it.
        anyhow::ensure!(sealed::is_sealed(&file).with_context(wrong)?, wrong());
        Ok(Self { file: Some(Arc::new(file)), ..Self::default() })
    }
}

const NO_MEMORY: &str = "cannot keep a compiled plugin in memory";

/// For code that is still to be written.
pub(super) fn empty_file() -> Result<File> {
    sealed::empty_file("plugin")
}

/// What the code belongs to: the component, the engine with its settings and the processor's features, this piimg.
fn key(engine: &Engine, digest: &str) -> String {
    // Another compiler may hash in another way, which is another piimg and only means to compile again.
    let mut hash = DefaultHasher::new();
    env!("CARGO_PKG_VERSION").hash(&mut hash);
    engine.precompile_compatibility_hash().hash(&mut hash);
    format!("{}-{:016x}", digest.trim_start_matches("sha256:"), hash.finish())
}

/// The code of earlier builds, in the calling user's own cache.
#[derive(Debug)]
pub struct CodeCache {
    directory: Directory,
    key: Key,
}

impl CodeCache {
    /// Opens it for reading; none if there is none, or if somebody else may write to it: whoever only looks at a plugin then
    /// compiles it, with the same result. Whoever wants to keep code there is told why.
    pub fn open(home: &Home) -> Option<Self> {
        let key = home.key().ok()??;
        let directory = Directory::open_below(&home.compiled(), Links::Followed).ok()?;
        Self::of(directory, key).ok()
    }

    fn of(directory: Directory, key: Key) -> Result<Self> {
        check_own(&directory.stat().context("cannot look at it")?)?;
        Ok(Self { directory, key })
    }

    /// The kept code of that key. Whatever is there instead of it is as good as nothing: `keep` replaces it.
    fn find(&self, key: &str) -> Option<Code> {
        let file = self.directory.open_file(key).ok()??;
        check_own(&rustix::fs::fstat(&file).ok()?).ok()?;
        Code::read_from(&file, key, &self.key).ok()?
    }

    /// Under another name first: a file of its own name was written to its end.
    fn write(&self, code: &Code) -> Result<()> {
        let temporary = format!("{}.{}", code.key, std::process::id());
        // Left by a killed build whose process had the same number.
        self.directory.remove(&temporary).ok();
        let file = self.directory.create_new(&temporary, Mode::RUSR | Mode::WUSR)?;
        let written =
            code.write_to(&file, &self.key).and_then(|()| Ok(self.directory.rename(&temporary, &code.key)?));
        if written.is_err() {
            // The first error is the one to tell; what is left is dropped with the outdated.
            self.directory.remove(&temporary).ok();
        }
        written
    }

    fn touch(&self, code: &Code) -> rustix::io::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        match rustix::fs::utimensat(&self.directory, &code.key, &times, AtFlags::SYMLINK_NOFOLLOW) {
            // Another build has dropped it since it was read.
            Err(Errno::NOENT) => Ok(()),
            done => done,
        }
    }

    fn drop_outdated(&self) -> std::io::Result<()> {
        let mut files = Vec::new();
        for name in self.directory.names()? {
            let Some(stat) = self.directory.find(&name)? else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                files.push((stat.st_mtime, name));
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        for name in outdated(files, i64::try_from(now).unwrap_or(i64::MAX)) {
            self.directory.remove(&name)?;
        }
        Ok(())
    }
}

/// Finds the code of a component in `cache`, or has it compiled to a file of [`empty_file`]. Writes nothing.
pub(super) fn find_or_compile(
    cache: Option<&CodeCache>,
    engine: &Engine,
    digest: &str,
    compile: impl FnOnce() -> Result<File>,
) -> Result<Code> {
    let key = key(engine, digest);
    if let Some(code) = cache.and_then(|cache| cache.find(&key)) {
        return Ok(code);
    }
    Code::sealed(key, compile()?)
}

/// Keeps the code for later builds, in a directory that is made if it is missing, and drops what no build has used for
/// a while.
///
/// # Errors
/// If directory or key are another user's or others may write to them, and if writing fails.
pub(super) fn keep<'a>(home: &Home, codes: impl Iterator<Item = &'a Code>) -> Result<()> {
    // The directories above it are the user's business; in its own place there is no link.
    let directory = Directory::create_below(&home.compiled(), Links::Followed, 0o700).context("cannot open it")?;
    let cache = CodeCache::of(directory, home.key_or_new()?)?;
    let mut is_new = false;
    for code in codes {
        if code.is_kept {
            cache.touch(code).context("cannot change a file in it")?;
        } else {
            cache.write(code).context("cannot write to it")?;
            is_new = true;
        }
    }
    if is_new {
        cache.drop_outdated().context("cannot tidy it")?;
    }
    Ok(())
}

/// Which of the files, each with the second it was last used, are to be dropped at `now`.
fn outdated<T>(mut files: Vec<(i64, T)>, now: i64) -> Vec<T> {
    files.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    let is_outdated = |(index, (used, _)): &(usize, (i64, T))| *index >= MAX_FILES || now - *used > MAX_AGE;
    files.into_iter().enumerate().filter(is_outdated).map(|(_, (_, name))| name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};

    use rustix::fs::MemfdFlags;

    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::plugin::engine;

    const DIGEST: &str = "sha256:00ff";

    fn content(code: &Code) -> Vec<u8> {
        let mut content = Vec::new();
        let mut file = code.file().unwrap();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        content
    }

    /// Where code is kept that was compiled, which this is not: nothing here loads it.
    struct Place {
        engine: Engine,
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            Self { engine: engine::with_settings().unwrap(), dir: tempfile::tempdir().unwrap() }
        }

        fn home(&self) -> Home {
            Home::at(self.dir.path())
        }

        fn path(&self) -> PathBuf {
            self.home().compiled()
        }

        fn file(&self) -> PathBuf {
            self.path().join(key(&self.engine, DIGEST))
        }

        /// What comes of `digest`, and whether it had to be compiled.
        fn find(&self, digest: &str) -> (Code, bool) {
            let mut is_compiled = false;
            let compile = || {
                is_compiled = true;
                let mut file = empty_file().unwrap();
                file.write_all(b"code").unwrap();
                Ok(file)
            };
            let cache = CodeCache::open(&self.home());
            let code = find_or_compile(cache.as_ref(), &self.engine, digest, compile).unwrap();
            assert_eq!(content(&code), b"code");
            (code, is_compiled)
        }

        fn keep(&self) -> Result<()> {
            keep(&self.home(), [&self.find(DIGEST).0].into_iter())
        }

        fn is_kept(&self, digest: &str) -> bool {
            !self.find(digest).1
        }
    }

    #[test]
    fn what_was_kept_is_not_compiled_again() {
        let place = Place::new();
        assert!(!place.is_kept(DIGEST));
        assert!(!place.path().exists(), "looking writes nothing");
        place.keep().unwrap();
        assert!(place.is_kept(DIGEST));
        assert!(!place.is_kept("sha256:00fe"), "another component");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&place.path()), mode(&place.file())), (0o700, 0o600));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        place.keep().unwrap();
    }

    #[test]
    fn code_of_another_engine_is_not_found() {
        let place = Place::new();
        place.keep().unwrap();
        let other = Engine::new(wasmtime::Config::new().consume_fuel(false)).unwrap();
        assert_ne!(key(&place.engine, DIGEST), key(&other, DIGEST));
        // Neither is it by another name.
        fs::rename(place.file(), place.path().join(key(&other, DIGEST))).unwrap();
        assert!(CodeCache::open(&place.home()).unwrap().find(&key(&other, DIGEST)).is_none());
    }

    #[test]
    fn damaged_code_is_compiled_again_and_replaced() {
        let place = Place::new();
        place.keep().unwrap();
        let whole = fs::read(place.file()).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for damaged in [&flipped, &whole[..whole.len() - 1], &whole[1..], &whole[..32], &whole[..3], &[]] {
            fs::write(place.file(), damaged).unwrap();
            assert!(!place.is_kept(DIGEST), "{damaged:?}");
            place.keep().unwrap();
            assert_eq!(fs::read(place.file()).unwrap(), whole);
        }
    }

    #[test]
    fn what_is_no_file_of_this_user_alone_is_not_read() {
        let place = Place::new();
        let replace = |change: fn(&Path)| {
            place.keep().unwrap();
            assert!(place.is_kept(DIGEST));
            change(&place.file());
            assert!(!place.is_kept(DIGEST));
        };
        replace(|file| fs::set_permissions(file, Permissions::from_mode(0o620)).unwrap());
        replace(|file| fs::set_permissions(file, Permissions::from_mode(0o602)).unwrap());
        replace(|file| {
            fs::rename(file, file.with_extension("moved")).unwrap();
            symlink(file.with_extension("moved"), file).unwrap();
        });
        replace(|file| {
            fs::remove_file(file).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, file, Mode::RUSR).unwrap();
        });
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_used() {
        let place = Place::new();
        place.keep().unwrap();
        let refused = |why: &str| {
            assert!(CodeCache::open(&place.home()).is_none(), "{why}");
            assert_eq!(place.keep().unwrap_err().to_string(), why);
        };
        for mode in [0o770, 0o702] {
            fs::set_permissions(place.path(), Permissions::from_mode(mode)).unwrap();
            refused("others can write to it; remove it");
        }
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(place.is_kept(DIGEST));
        fs::rename(place.path(), place.dir.path().join("moved")).unwrap();
        symlink("moved", place.path()).unwrap();
        refused("cannot open it");
    }

    #[test]
    fn code_that_somebody_else_sealed_is_no_code() {
        let place = Place::new();
        place.keep().unwrap();
        // As in a cache that is carried from another machine, or in a repository: all is in order but the key.
        let other = Place::new();
        other.keep().unwrap();
        fs::copy(other.file(), place.file()).unwrap();
        assert!(!place.is_kept(DIGEST));
        // Nor does a digest without a key help whoever can write to the place.
        let plain = Sha256::new().chain_update(key(&place.engine, DIGEST)).chain_update("\ncode").finalize();
        fs::write(place.file(), [&b"code"[..], &plain].concat()).unwrap();
        assert!(!place.is_kept(DIGEST));
        place.keep().unwrap();
        assert!(place.is_kept(DIGEST));
        fs::remove_file(place.dir.path().join("state/seal.key")).unwrap();
        assert!(!place.is_kept(DIGEST), "nobody can tell any more");
        place.keep().unwrap();
        assert!(place.is_kept(DIGEST));
    }

    #[test]
    fn the_inner_process_takes_only_what_cannot_change() {
        let place = Place::new();
        let (code, _) = place.find(DIGEST);
        let mut file = code.file().unwrap().try_clone().unwrap();
        assert_eq!(file.write_all(b"x").unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        assert_eq!(content(&Code::from_file(file).unwrap()), b"code");
        let refused = |file: OwnedFd| Code::from_file(file.into()).unwrap_err().to_string();
        let wrong = "what was passed on is no compiled plugin";
        assert_eq!(refused(tempfile::tempfile().unwrap().into()), wrong);
        assert_eq!(refused(rustix::fs::memfd_create("x", MemfdFlags::ALLOW_SEALING).unwrap()), wrong);
        assert_eq!(Code::default().file().unwrap_err().to_string(), "the plugin is not compiled");
    }

    #[test]
    fn files_are_dropped_by_age_and_number() {
        let now = 1_750_000_000;
        let at = |ages: &[i64]| outdated(ages.iter().map(|age| (now - age, *age)).collect(), now);
        assert_eq!(at(&[0, MAX_AGE, MAX_AGE + 1]), [MAX_AGE + 1]);
        let many: Vec<i64> = (0..70).collect();
        assert_eq!(at(&many), (64..70).collect::<Vec<_>>());
        assert_eq!(at(&[-5]), [0; 0]);
    }

    #[test]
    fn keeping_drops_what_is_outdated_and_using_is_noticed() {
        let place = Place::new();
        place.keep().unwrap();
        let old = SystemTime::now() - std::time::Duration::from_secs(40 * 86_400);
        let age = |path: &Path| File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        age(&place.file());
        place.keep().unwrap();
        assert!(fs::metadata(place.file()).unwrap().modified().unwrap() > old, "it was used");
        let left = place.path().join("left");
        fs::write(&left, "").unwrap();
        age(&left);
        place.keep().unwrap();
        assert!(left.exists(), "nothing new was kept");
        fs::remove_file(place.file()).unwrap();
        place.keep().unwrap();
        assert!(!left.exists() && place.is_kept(DIGEST));
    }
}
