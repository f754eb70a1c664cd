//! Says at once what a few programs would say that only ask where a path leads, or make a directory that is there.
//!
//! A script that makes an initramfs starts them several times for each of thousands of files, and most of what a start
//! costs is the loader's work. An answer is given only where it cannot differ from the program's: anything unusual (another
//! option, a path that is relative, not there, or has `.` or `..` in it) is left to the program.

use core::ffi::CStr;

use super::{ACCESS, EXIT_GROUP, NATIVE, Path, Pointers, STAT, WRITE, system_call};

/// Says what the `program` would say if it is started with the arguments `own`, and ends this process; returns if the
/// program must run.
///
/// # Safety
/// `own` is a vector of strings that ends in a null pointer, with one string or more.
pub(super) unsafe fn answer(program: &Path, own: Pointers) {
    // SAFETY: promised by the caller.
    let Some((option, path)) = (unsafe { two_arguments(own) }) else { return };
    let name = match program.bytes() {
        // Before `/usr` is merged, and after.
        [b'/', b'b', b'i', b'n', b'/', name @ ..] | [b'/', b'u', b's', b'r', b'/', b'b', b'i', b'n', b'/', name @ ..] => name,
        _ => return,
    };
    let Some(said) = say(name, option, path) else { return };
    // A program that must not run natively is not answered for either.
    let mut native = Path::new();
    native.push(NATIVE);
    native.push(program.bytes());
    if exists(&mut native) && write(said.bytes()) {
        // SAFETY: does not return.
        unsafe { system_call(EXIT_GROUP, 0, 0, 0) };
    }
}

/// Returns the only two arguments, if there are two.
///
/// # Safety
/// Those of [`answer`].
unsafe fn two_arguments<'a>(own: Pointers) -> Option<(&'a [u8], &'a [u8])> {
    // SAFETY: read in their order, none behind the null pointer. The kernel's strings live as long as the process.
    unsafe {
        let mut found: [&[u8]; 2] = [b"", b""];
        for (index, argument) in found.iter_mut().enumerate() {
            let string = *own.add(index + 1);
            if string.is_null() {
                return None;
            }
            *argument = CStr::from_ptr(string).to_bytes();
        }
        (*own.add(3)).is_null().then_some((found[0], found[1]))
    }
}

/// Returns the output of the program `name`, if it is certain.
fn say(name: &[u8], option: &[u8], path: &[u8]) -> Option<Path> {
    let mut said = plain(path)?;
    match (name, option) {
        (b"readlink", b"-f") => {
            said = Path::new();
            // SAFETY: an argument is a terminated string.
            (unsafe { said.push_canonical(path.as_ptr().cast()) } && exists(&mut said)).then_some(())?;
        }
        (b"realpath", b"-ms") => {}
        (b"realpath", b"-s") => exists(&mut said).then_some(())?,
        (b"mkdir", b"-p") => return is_directory(&mut said).then(Path::new),
        _ => return None,
    }
    said.push(b"\n");
    said.is_whole().then_some(said)
}

/// Returns an absolute path with one slash before each name; `None` if it has `.` or `..` or ends in a slash, of which
/// each program makes something else.
fn plain(path: &[u8]) -> Option<Path> {
    if path.first() != Some(&b'/') || path.last() == Some(&b'/') {
        return None;
    }
    let mut plain = Path::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" => {}
            b"." | b".." => return None,
            name => {
                plain.push(b"/");
                plain.push(name);
            }
        }
    }
    plain.is_whole().then_some(plain)
}

fn exists(path: &mut Path) -> bool {
    // SAFETY: a terminated string; 0 is `F_OK`.
    path.is_whole() && unsafe { system_call(ACCESS, path.terminated() as usize, 0, 0) } == 0
}

fn is_directory(path: &mut Path) -> bool {
    /// `struct stat` of x86-64, of which the mode is 24 bytes from its beginning: asm/stat.h of Linux.
    const LENGTH: usize = 144;
    const MODE: usize = 24;
    let mut stat = [0_u64; LENGTH / 8];
    // SAFETY: a terminated string, and a buffer as long as the kernel's answer.
    let result = unsafe { system_call(STAT, path.terminated() as usize, stat.as_mut_ptr() as usize, 0) };
    // `S_IFMT` and `S_IFDIR` of linux/stat.h.
    result == 0 && stat[MODE / 8] & 0o170_000 == 0o040_000
}

/// Writes to standard output; false if nothing was written, for the program to say why.
fn write(text: &[u8]) -> bool {
    if text.is_empty() {
        return true;
    }
    // SAFETY: the buffer is as long as said.
    let written = unsafe { system_call(WRITE, 1, text.as_ptr() as usize, text.len()) };
    if written > 0 && written.cast_unsigned() < text.len() {
        // A part cannot be taken back.
        // SAFETY: does not return.
        unsafe { system_call(EXIT_GROUP, 1, 0, 0) };
    }
    written > 0
}
