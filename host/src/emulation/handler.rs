//! The interpreter that the kernel starts for every program of a foreign architecture: a program of its own,
//! static, built by `build.rs` and carried inside piimg.
//!
//! If the tools layer has a native build of the same program, that one runs; otherwise qemu-user does. It sees
//! the image's file system, whatever root the caller has, because the tools layer lies below every layer of the
//! image during the build.
//!
//! No Rust runtime: that would change signal dispositions which the program has to inherit.

#![no_main]

use core::ffi::{CStr, c_char, c_int};

/// Links to the native programs, below the path each has in the image.
const NATIVE: &[u8] = b"/.piimg/native";
/// qemu-user for the image's architecture.
const QEMU: &CStr = c"/.piimg/qemu";

const PATH_MAX: usize = 4096;
/// What a shell returns if a program cannot be run.
const CANNOT_RUN: c_int = 126;

unsafe extern "C" {
    fn realpath(path: *const c_char, resolved: *mut c_char) -> *mut c_char;
    fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int;
    fn malloc(size: usize) -> *mut u8;
}

/// Arguments are those of binfmt_misc with the flag `P`: this handler, the program's path, its `argv[0]`, the rest.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) -> c_int {
    let Ok(count @ 3..) = usize::try_from(argc) else { return CANNOT_RUN };
    // SAFETY: the kernel passes `argc` pointers and a null pointer after them.
    let (path, own) = unsafe { (*argv.add(1), argv.add(2)) };
    let mut native = [0u8; NATIVE.len() + PATH_MAX];
    native[..NATIVE.len()].copy_from_slice(NATIVE);
    // SAFETY: the buffer has PATH_MAX bytes behind the prefix, as realpath(3) asks for.
    let resolved = unsafe { realpath(path, native.as_mut_ptr().add(NATIVE.len()).cast()) };
    if !resolved.is_null() {
        // SAFETY: the path ends in a null byte; both vectors are the kernel's. It returns only if there is no
        // such native program.
        unsafe { execve(native.as_ptr().cast(), own, envp) };
    }
    // qemu -0 ARGV0 PATH ARGUMENTS…
    // SAFETY: room for two more pointers than there were, the final null pointer included.
    let arguments = unsafe { malloc((count + 3) * size_of::<*const c_char>()) }.cast::<*const c_char>();
    if arguments.is_null() {
        return CANNOT_RUN;
    }
    // SAFETY: as allocated; the kernel's vector has `count` pointers and a null one.
    unsafe {
        *arguments = QEMU.as_ptr();
        *arguments.add(1) = c"-0".as_ptr();
        *arguments.add(2) = *own;
        *arguments.add(3) = path;
        core::ptr::copy_nonoverlapping(argv.add(3), arguments.add(4), count - 2);
        execve(QEMU.as_ptr(), arguments, envp);
    }
    CANNOT_RUN
}
