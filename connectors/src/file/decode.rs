//! From a file's bytes to UTF-8: decompression, then the encoding.
//!
//! A byte-order mark proves nothing: a file is taken for UTF-8 only if all of it is. Else its encoding is guessed over the whole file.
//! The mark itself is left out in any encoding. Bytes that mean nothing in the encoding become U+FFFD and are counted.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use chardetng::EncodingDetector;
use encoding_rs::{DecoderResult, Encoding};

use super::{Compression, TextEncoding};

const BLOCK_BYTES: usize = 1 << 20;
/// The byte-order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A stream of UTF-8 text.
pub(super) struct TextStream {
    source: Box<dyn Read + Send>,
    decoder: Option<Decoder>,
    pub(super) replaced_characters: u64,
    /// Whether a byte of the text is a byte of the file, so that a position can be sought.
    pub(super) is_plain: bool,
}

struct Decoder {
    decoder: encoding_rs::Decoder,
    input: Vec<u8>,
    start: usize,
    begun: bool,
    finished: bool,
}

/// Opens a file as UTF-8 text. For plain UTF-8 reading begins at byte `from`.
pub(super) fn open(path: &Path, compression: Compression, encoding: TextEncoding, from: u64) -> io::Result<TextStream> {
    let compression = match compression {
        Compression::Auto => compression_of(path)?,
        other => other,
    };
    let encoding = match encoding {
        TextEncoding::Auto => guess(&mut unpacked(path, compression)?)?,
        TextEncoding::Utf8 => encoding_rs::UTF_8,
        TextEncoding::Windows1252 => encoding_rs::WINDOWS_1252,
        TextEncoding::Gb18030 => encoding_rs::GB18030,
    };
    let is_valid = encoding == encoding_rs::UTF_8 && is_utf8(&mut unpacked(path, compression)?)?;
    let is_plain = is_valid && compression == Compression::None;
    let mut source = unpacked(path, compression)?;
    if is_plain && from > 0 {
        let mut file = File::open(path)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
        source = Box::new(BufReader::with_capacity(BLOCK_BYTES, file));
    }
    let decoder = (!is_valid).then(|| Decoder {
        decoder: encoding.new_decoder_without_bom_handling(),
        input: Vec::new(),
        start: 0,
        begun: false,
        finished: false,
    });
    Ok(TextStream {
        source,
        decoder,
        replaced_characters: 0,
        is_plain,
    })
}

fn compression_of(path: &Path) -> io::Result<Compression> {
    let mut magic = [0; 4];
    let mut file = File::open(path)?;
    let mut filled = 0;
    while filled < magic.len() {
        match file.read(&mut magic[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(match magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => Compression::None,
    })
}

fn unpacked(path: &Path, compression: Compression) -> io::Result<Box<dyn Read + Send>> {
    let file = File::open(path)?;
    Ok(match compression {
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(
            BLOCK_BYTES,
            file,
        ))),
        Compression::Zstd => Box::new(zstd::Decoder::new(file)?),
        Compression::Auto | Compression::None => Box::new(BufReader::with_capacity(BLOCK_BYTES, file)),
    })
}

fn is_utf8(source: &mut dyn Read) -> io::Result<bool> {
    let mut pending = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = source.read(&mut block)?;
        if count == 0 {
            return Ok(pending.is_empty());
        }
        pending.extend_from_slice(&block[..count]);
        match std::str::from_utf8(&pending) {
            Ok(_) => pending.clear(),
            Err(error) if error.error_len().is_some() => return Ok(false),
            Err(error) => drop(pending.drain(..error.valid_up_to())),
        }
    }
}

fn guess(source: &mut dyn Read) -> io::Result<&'static Encoding> {
    let mut whole = Vec::new();
    let mut valid = true;
    let mut detector = EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = source.read(&mut block)?;
        if count == 0 {
            break;
        }
        detector.feed(&block[..count], false);
        if valid {
            whole.extend_from_slice(&block[..count]);
            match std::str::from_utf8(&whole) {
                Ok(_) => whole.clear(),
                Err(error) if error.error_len().is_some() => valid = false,
                Err(error) => drop(whole.drain(..error.valid_up_to())),
            }
        }
    }
    detector.feed(&[], true);
    if valid && whole.is_empty() {
        return Ok(encoding_rs::UTF_8);
    }
    let guessed = detector.guess(None, chardetng::Utf8Detection::Deny);
    // GB18030 holds all of GBK; what is neither is western, of which Windows-1252 reads every byte.
    Ok(if guessed == encoding_rs::GBK || guessed == encoding_rs::GB18030 {
        encoding_rs::GB18030
    } else {
        encoding_rs::WINDOWS_1252
    })
}

impl TextStream {
    /// Appends more text to `buffer`; false at the end.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let start = buffer.len();
        if self.decoder.is_none() {
            buffer.resize(start + BLOCK_BYTES, 0);
            let count = self.source.read(&mut buffer[start..])?;
            buffer.truncate(start + count);
            return Ok(count > 0);
        }
        while buffer.len() == start {
            if !self.decode(buffer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn decode(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let Some(state) = &mut self.decoder else {
            return Ok(false);
        };
        if state.finished {
            return Ok(false);
        }
        if state.start == state.input.len() {
            state.input.resize(BLOCK_BYTES, 0);
            let count = self.source.read(&mut state.input)?;
            state.input.truncate(count);
            state.start = if !state.begun && state.input.starts_with(MARK) {
                MARK.len()
            } else {
                0
            };
            state.begun = true;
        }
        let last = state.input.is_empty();
        let at = buffer.len();
        buffer.resize(at + 4 * BLOCK_BYTES, 0);
        let (result, read, written) =
            state
                .decoder
                .decode_to_utf8_without_replacement(&state.input[state.start..], &mut buffer[at..], last);
        state.start += read;
        buffer.truncate(at + written);
        match result {
            DecoderResult::Malformed(..) => {
                buffer.extend_from_slice("\u{fffd}".as_bytes());
                self.replaced_characters += 1;
            }
            DecoderResult::InputEmpty => state.finished = last,
            DecoderResult::OutputFull => {}
        }
        Ok(!state.finished || buffer.len() > at)
    }
}
