//! Compresses a finished image, and parses the options for that.
//!
//! The same image gives the same bytes on any number of cores: both formats are cut into pieces of a fixed length.

use std::fmt;
use std::io::{self, Write};

use liblzma::stream::{Check, MtStreamBuilder};
use liblzma::write::XzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use super::layout::Bytes;
pub use crate::recipe::compression::Compression;

/// Each block is compressed by itself. Three dictionaries of the default level, as `xz` would choose; fixed, for it
/// decides the bytes that come out.
const XZ_BLOCK: Bytes = Bytes::mib(24);

/// Each of `xz`'s threads needs up to 0.8 GiB at level 9: fewer threads are used rather than more memory than this.
const XZ_MEMORY: Bytes = Bytes::mib(4096);

impl Compression {
    /// Begins to compress `length` bytes to `out`, on `threads` cores.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn start<W: Write>(self, out: W, length: Bytes, threads: u32) -> io::Result<Compressor<W>> {
        // Without a worker of its own, zstd would cut its input in another way.
        let threads = threads.max(1);
        Ok(match self {
            Self::Zstd(level) => {
                let level = i32::try_from(level).expect("levels are small");
                let mut encoder = ZstdEncoder::new(out, level)?;
                encoder.include_checksum(true)?;
                encoder.set_pledged_src_size(Some(length.0))?;
                encoder.multithread(threads)?;
                Compressor::Zstd(encoder)
            }
            Self::Xz(level) => {
                let mut stream = MtStreamBuilder::new();
                stream.preset(level).check(Check::Crc64).block_size(XZ_BLOCK.0);
                let mut threads = threads;
                while stream.threads(threads).memusage() > XZ_MEMORY.0 && threads > 1 {
                    threads -= 1;
                }
                Compressor::Xz(XzEncoder::new_stream(out, stream.encoder()?))
            }
        })
    }
}

/// Compresses what is written to it; nothing is complete before [`Compressor::finish`].
pub enum Compressor<W: Write> {
    Zstd(ZstdEncoder<'static, W>),
    Xz(XzEncoder<W>),
}

impl<W: Write> Compressor<W> {
    /// Writes what is left and returns the writer below.
    ///
    /// # Errors
    /// If writing fails, or if another number of bytes came than was announced.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Zstd(encoder) => encoder.write(data),
            Self::Xz(encoder) => encoder.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Xz(encoder) => encoder.flush(),
        }
    }
}

impl<W: Write> fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zstd(_) => "Compressor::Zstd",
            Self::Xz(_) => "Compressor::Xz",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Text that neither repeats nor is noise, of more than one piece of both formats.
    fn sample() -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        };
        (0..XZ_BLOCK.0 + (3 << 20)).map(|i| if i % 3 == 0 { 0 } else { next().to_le_bytes()[0] & 15 }).collect()
    }

    fn compress(compression: Compression, data: &[u8], threads: u32, step: usize) -> Vec<u8> {
        let mut compressor = compression.start(Vec::new(), Bytes(data.len() as u64), threads).unwrap();
        for part in data.chunks(step) {
            compressor.write_all(part).unwrap();
        }
        compressor.finish().unwrap()
    }

    #[test]
    fn the_number_of_cores_does_not_change_a_byte() {
        let data = sample();
        for compression in [Compression::Zstd(3), Compression::Xz(0)] {
            let one = compress(compression, &data, 1, 1 << 20);
            assert!(one.len() < data.len() / 2, "{compression}: {}", one.len());
            for (threads, step) in [(2, 1 << 20), (5, 4097)] {
                assert!(one == compress(compression, &data, threads, step), "{compression} with {threads} threads");
            }
            let mut back = Vec::new();
            match compression {
                Compression::Zstd(_) => zstd::Decoder::new(&one[..]).unwrap().read_to_end(&mut back).unwrap(),
                Compression::Xz(_) => liblzma::read::XzDecoder::new(&one[..]).read_to_end(&mut back).unwrap(),
            };
            assert!(back == data, "{compression}");
        }
    }

    #[test]
    fn zstd_says_how_long_it_will_be_and_is_checked() {
        let frame = compress(Compression::Zstd(1), &[7; 300_000], 1, 1000);
        // The descriptor behind the magic number, RFC 8878, 3.1.1.1.1: content size of 4 bytes, checksum.
        assert_eq!(frame[4] & 0b1100_0100, 0b1000_0100, "{:#010b}", frame[4]);
    }

    #[test]
    fn another_length_than_announced_is_an_error() {
        let mut compressor = Compression::Zstd(1).start(Vec::new(), Bytes(5), 1).unwrap();
        let error = compressor.write_all(b"1234").and_then(|()| compressor.finish()).unwrap_err();
        assert!(error.to_string().contains("Src size is incorrect"), "{error}");
    }
}
