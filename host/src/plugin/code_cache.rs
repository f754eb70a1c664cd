//! Keeps compiled components between builds, and decides which ones are trusted.
//!
//! Native code does whatever it is made of, so it comes from three places only: a compiler that the caller provides, the
//! calling user's own cache ([`crate::home`]), and the outer process of the same build. Never from a store, which a recipe
//! may name, nor from a file that a user names. What is kept is sealed with a key that only this user has: whoever can put a
//! file there, in a cache that is carried from one machine to another perhaps, can still not choose the code. Even so it is only data here: a hole in the compiler would let a component choose what it is
//! compiled to, so code is loaded by workers alone ([`super::worker`]), which can do nothing. What a component was
//! compiled to is kept under that component's digest, so it can harm no other.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Mode, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;
use wasmtime::Engine;

use super::code::Code;
use crate::error::{Context as _, Result};
use crate::home::{Home, Key, check_own};
use crate::host_files::{Directory, Links, temporary_name};

/// Most files that are kept: some tens of plugins in the versions of a few weeks.
const MAX_FILES: usize = 64;
/// Seconds after which a file that no build has used is dropped.
const MAX_AGE: i64 = 30 * 86_400;

/// Returns the key of the code: the component, the engine with its settings and the processor's features, this piimg.
fn key(engine: &Engine, digest: &str) -> String {
    // Another compiler may hash differently. It makes another piimg, and the plugin is compiled again.
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
    /// Opens the cache for reading. Returns `None` if it does not exist, or if somebody else may write to it: inspecting a
    /// plugin then compiles it, with the same result. An attempt to store code there says why it is refused.
    pub fn open(home: &Home) -> Option<Self> {
        let key = home.key().ok()??;
        let directory = Directory::open_below(&home.compiled(), Links::Followed).ok()?;
        Self::of(directory, key).ok()
    }

    fn of(directory: Directory, key: Key) -> Result<Self> {
        check_own(&directory.stat().context("cannot look at it")?)?;
        Ok(Self { directory, key })
    }

    /// Returns the kept code of that key. Whatever is there instead of it is as good as nothing: `keep` replaces it.
    fn find(&self, key: &str) -> Option<Code> {
        let file = self.directory.open_file(key).ok()??;
        check_own(&rustix::fs::fstat(&file).ok()?).ok()?;
        Code::read_from(&file, key, &self.key).ok()?
    }

    /// Writes the code under a temporary name and renames it, so that a named file is always complete.
    fn write(&self, code: &Code) -> Result<()> {
        let temporary = temporary_name(&code.key)?;
        let file = self.directory.create_new(&temporary, Mode::RUSR | Mode::WUSR)?;
        let written =
            code.write_to(&file, &self.key).and_then(|()| Ok(self.directory.rename(&temporary, &code.key)?));
        if written.is_err() {
            // The first error is the one to report; a leftover is dropped with outdated files.
            self.directory.remove(&temporary).ok();
        }
        written
    }

    fn touch(&self, code: &Code) -> rustix::io::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        match rustix::fs::utimensat(&self.directory, &code.key, &times, AtFlags::SYMLINK_NOFOLLOW) {
            // Another build has dropped it in the meantime.
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

/// Finds the code of a component in `cache`, or has it compiled to a file of [`super::code::empty_file`]. Writes nothing.
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
    // The directories above are the user's business; below the cache's own directory no link is followed.
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

/// Returns the files to delete at `now`, by the second of each one's last use.
fn outdated<T>(mut files: Vec<(i64, T)>, now: i64) -> Vec<T> {
    files.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    let is_outdated = |(index, (used, _)): &(usize, (i64, T))| *index >= MAX_FILES || now - *used > MAX_AGE;
    files.into_iter().enumerate().filter(is_outdated).map(|(_, (_, name))| name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};

    use rustix::fs::MemfdFlags;

    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::plugin::code::empty_file;
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
