//! Runs in place of every program of a foreign architecture, as the interpreter that the kernel starts
//! (<https://docs.kernel.org/admin-guide/binfmt-misc.html>). It is a static program of its own, built by `build.rs` and
//! carried inside piimg.
//!
//! If the tools layer has a native build of the same program, that one runs; otherwise qemu-user does. It sees
//! the image's file system, whatever root the caller has, because the tools layer lies below every layer of the
//! image during the build.
//!
//! No runtime and no C library: a build starts this program tens of thousands of times, and signal dispositions must
//! be inherited as they are. It allocates nothing.

#![no_std]
#![no_main]

#[path = "handler/answers.rs"]
mod answers;

use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char};

/// Links to native programs, below the path each has in the image.
const NATIVE: &[u8] = b"/.piimg/native";
/// Links to native interpreters, below the path each has in the image and that of a script it may run.
const SCRIPTS: &[u8] = b"/.piimg/scripts";
/// qemu-user for the image's architecture.
const QEMU: &CStr = c"/.piimg/qemu";

/// The kernel takes no longer path, `PATH_MAX` of linux/limits.h; one that was cut off names nothing.
const LONGEST: usize = 4096;
/// Links that are followed, as many as the kernel does: `MAXSYMLINKS` of linux/namei.h.
const LINKS: usize = 40;
/// Exit status of a shell for a program that cannot be run:
/// <https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html#tag_18_08_02>.
const CANNOT_RUN: usize = 126;

// System calls of x86-64, from the kernel's `syscall_64.tbl`.
const WRITE: usize = 1;
const STAT: usize = 4;
const ACCESS: usize = 21;
const EXECVE: usize = 59;
const EXIT_GROUP: usize = 231;
const GETCWD: usize = 79;
const READLINK: usize = 89;

// The kernel enters with the stack pointer at the number of arguments.
global_asm!(".globl _start", "_start:", "xor %ebp, %ebp", "mov %rsp, %rdi", "and $-16, %rsp", "call {start}", start = sym start, options(att_syntax));

type Pointers = *mut *const c_char;

/// Starts the handler. `stack` holds the number of arguments, the arguments, a null pointer, the environment, a null pointer. The arguments
/// are those of binfmt_misc with the flag `P`: this handler, the program's path, its `argv[0]`, the rest.
unsafe extern "C" fn start(stack: Pointers) -> ! {
    // SAFETY: the kernel's own layout, as above.
    unsafe {
        let count = *stack as usize;
        if count >= 3 {
            let arguments = stack.add(1);
            run(arguments, arguments.add(count + 1));
        }
        system_call(EXIT_GROUP, CANNOT_RUN, 0, 0);
    }
    loop {}
}

/// Returns only if neither can be run.
///
/// # Safety
/// Both vectors are the kernel's, the first one with three entries or more and a writable place before it.
unsafe fn run(arguments: Pointers, environment: Pointers) {
    // SAFETY: as promised by the caller; an index of 2 is inside.
    unsafe {
        let (path, own) = (*arguments.add(1), arguments.add(2));
        let mut program = Path::new();
        if program.push_canonical(path) {
            answers::answer(&program, own);
            let mut native = Path::new();
            native.push(NATIVE);
            native.push(program.bytes());
            execute(native.terminated(), own, environment);
            if let Some((kind, name)) = script(own) {
                let mut native = Path::new();
                native.push(SCRIPTS);
                native.push(program.bytes());
                native.push(kind);
                native.push(name);
                execute(native.terminated(), own, environment);
            }
        }
        // qemu -0 ARGV0 PATH ARGUMENTS…, in the kernel's own vector: the number before it is no longer needed.
        let argv0 = *own;
        let vector = arguments.sub(1);
        *vector = QEMU.as_ptr();
        *vector.add(1) = c"-0".as_ptr();
        *vector.add(2) = argv0;
        *vector.add(3) = path;
        execute(QEMU.as_ptr(), vector, environment);
    }
}

/// Finds what an interpreter is asked to run: `/` and the path of a script, or `/-m/` and the name of a module.
///
/// Anything else, an option with a value or a command, finds no link and is left to the emulator.
///
/// # Safety
/// `own` is a vector of strings that ends in a null pointer.
unsafe fn script<'a>(own: Pointers) -> Option<(&'a [u8], &'a [u8])> {
    let mut index = 1;
    loop {
        // SAFETY: the loop ends at the null pointer.
        let argument = unsafe { *own.add(index) };
        if argument.is_null() {
            return None;
        }
        // SAFETY: the kernel's strings are terminated and live as long as the process.
        let argument = unsafe { CStr::from_ptr(argument) }.to_bytes();
        index += 1;
        match argument {
            b"-m" => {
                // SAFETY: not beyond the null pointer, which the one before was not.
                let module = unsafe { *own.add(index) };
                if module.is_null() {
                    return None;
                }
                // SAFETY: as above.
                return Some((b"/-m/", unsafe { CStr::from_ptr(module) }.to_bytes()));
            }
            [b'-', _, ..] => {}
            [b'/', ..] => return Some((b"", argument)),
            _ => return None,
        }
    }
}

/// A path in the making.
struct Path {
    bytes: [u8; LONGEST],
    length: usize,
    /// More was added than there is room for.
    is_cut: bool,
}

impl Path {
    fn new() -> Self {
        Self { bytes: [0; LONGEST], length: 0, is_cut: false }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Returns whether everything that was added is in it.
    fn is_whole(&self) -> bool {
        !self.is_cut
    }

    /// Adds what fits.
    fn push(&mut self, part: &[u8]) {
        let room = self.bytes.len() - 1 - self.length;
        self.is_cut |= part.len() > room;
        let part = &part[..if part.len() < room { part.len() } else { room }];
        self.bytes[self.length..self.length + part.len()].copy_from_slice(part);
        self.length += part.len();
    }

    fn terminated(&mut self) -> *const c_char {
        self.bytes[self.length] = 0;
        self.bytes.as_ptr().cast()
    }

    /// Adds the path of the file itself, all links followed, as seen from the root directory of this process. Done by
    /// hand: not every root that a build makes has a `/proc`.
    ///
    /// # Safety
    /// `path` is a terminated string.
    unsafe fn push_canonical(&mut self, path: *const c_char) -> bool {
        // SAFETY: promised by the caller.
        let path = unsafe { CStr::from_ptr(path) }.to_bytes();
        let mut rest = Path::new();
        if path.first() != Some(&b'/') {
            // SAFETY: the buffer is as long as said.
            let length = unsafe { system_call(GETCWD, rest.bytes.as_mut_ptr() as usize, LONGEST - 1, 0) };
            // The length counts the null byte; a directory that cannot be reached has no `/` in front.
            if length < 2 || rest.bytes[0] != b'/' {
                return false;
            }
            rest.length = length.cast_unsigned() - 1;
            rest.push(b"/");
        }
        rest.push(path);
        self.is_cut |= rest.is_cut;
        for _ in 0..LINKS {
            match self.walk(&rest) {
                Some(Link { target, from }) => {
                    let mut next = Path::new();
                    next.push(target.bytes());
                    next.push(&rest.bytes()[from..]);
                    self.is_cut |= next.is_cut;
                    if target.bytes().first() == Some(&b'/') {
                        self.length = 0;
                    }
                    rest = next;
                }
                None => return self.is_whole(),
            }
        }
        false
    }

    /// Adds the components of `rest` up to the first that is a link.
    fn walk(&mut self, rest: &Path) -> Option<Link> {
        let mut position = 0;
        while position < rest.length {
            let mut end = position;
            while end < rest.length && rest.bytes[end] != b'/' {
                end += 1;
            }
            let parent = self.length;
            match &rest.bytes[position..end] {
                b"" | b"." => {}
                b".." => {
                    while self.length > 0 && self.bytes[self.length - 1] != b'/' {
                        self.length -= 1;
                    }
                    self.length = self.length.saturating_sub(1);
                }
                name => {
                    self.push(b"/");
                    self.push(name);
                    let mut target = Path::new();
                    let buffer = target.bytes.as_mut_ptr() as usize;
                    // SAFETY: the path is terminated, the buffer as long as said.
                    let length = unsafe { system_call(READLINK, self.terminated() as usize, buffer, LONGEST - 1) };
                    if length > 0 {
                        target.length = length.cast_unsigned();
                        self.length = parent;
                        return Some(Link { target, from: end });
                    }
                }
            }
            position = end + 1;
        }
        None
    }
}

/// A link on the way: where it leads, and where what followed it begins.
struct Link {
    target: Path,
    from: usize,
}

/// # Safety
/// As execve(2) wants them.
unsafe fn execute(path: *const c_char, arguments: Pointers, environment: Pointers) {
    // SAFETY: promised by the caller. It returns only with an error, which the next attempt answers.
    unsafe { system_call(EXECVE, path as usize, arguments as usize, environment as usize) };
}

/// # Safety
/// As the call itself.
unsafe fn system_call(number: usize, first: usize, second: usize, third: usize) -> isize {
    let result: isize;
    // SAFETY: the calling convention of x86-64: these registers are what a system call changes.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") first, in("rsi") second, in("rdx") third,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

// What the compiler calls and a C library would bring.

/// # Safety
/// As memcpy(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: promised by the caller; `rep movsb` copies upwards, byte by byte.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack));
    }
    to
}

/// # Safety
/// As memset(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: promised by the caller.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("eax") byte, options(nostack));
    }
    to
}

/// # Safety
/// As strlen(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: promised by the caller. A volatile read, or the compiler would make a call of this function of the loop.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// Satisfies the core library, which can unwind; nothing here does.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: does not return.
    unsafe { system_call(EXIT_GROUP, CANNOT_RUN, 0, 0) };
    loop {}
}
