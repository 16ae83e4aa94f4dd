//! From a file's bytes to UTF-8: decompression, then the encoding.
//!
//! The byte-order mark of UTF-8 proves nothing: a file is taken for UTF-8 only if all of it is. Else its encoding is guessed over the whole
//! file, but for the marks of UTF-16, which begin nothing else.
//! The mark itself is left out in any encoding. Bytes that mean nothing in the encoding become U+FFFD and are counted.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use chardetng::EncodingDetector;
use encoding_rs::{DecoderResult, Encoding};

use super::{Compression, TextEncoding};

const BLOCK_BYTES: usize = 256 << 10;
/// The byte-order mark of UTF-8, also where it stands before other encodings.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Those of UTF-16.
const MARKS_16: [(&[u8], &Encoding); 2] = [
    (b"\xff\xfe", encoding_rs::UTF_16LE),
    (b"\xfe\xff", encoding_rs::UTF_16BE),
];

/// A stream of UTF-8 text.
pub(super) struct TextStream {
    source: Box<dyn Read + Send>,
    /// None as long as the bytes are UTF-8.
    decoder: Option<Decoder>,
    block: Vec<u8>,
    /// Bytes of a character whose rest is not read yet.
    cut: Vec<u8>,
    pub(super) replaced_characters: u64,
    /// Whether a byte of the text so far is a byte of the file, so that a position can be sought.
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
        TextEncoding::Utf16Le => encoding_rs::UTF_16LE,
        TextEncoding::Utf16Be => encoding_rs::UTF_16BE,
    };
    let is_utf8 = encoding == encoding_rs::UTF_8;
    let is_plain = is_utf8 && compression == Compression::None;
    let mut source = unpacked(path, compression)?;
    if is_plain && from > 0 {
        let mut file = File::open(path)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
        source = Box::new(BufReader::with_capacity(BLOCK_BYTES, file));
    }
    let decoder = (!is_utf8).then(|| Decoder::new(encoding));
    Ok(TextStream {
        source,
        decoder,
        block: Vec::new(),
        cut: Vec::new(),
        replaced_characters: 0,
        is_plain,
    })
}

fn compression_of(path: &Path) -> io::Result<Compression> {
    Ok(match first_bytes(path)? {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => Compression::None,
    })
}

/// What a file is that people take for text, and what to do about it.
pub(super) fn foreign(path: &Path) -> io::Result<Option<&'static str>> {
    Ok(match first_bytes(path)? {
        [b'P', b'K', 3, 4] => {
            Some("it is a ZIP archive or an .xlsx workbook: unpack it, or save the sheet as CSV UTF-8")
        }
        [0xd0, 0xcf, 0x11, 0xe0] => Some("it is an .xls workbook: save the sheet as CSV UTF-8"),
        _ => None,
    })
}

fn first_bytes(path: &Path) -> io::Result<[u8; 4]> {
    let mut bytes = [0; 4];
    let mut file = File::open(path)?;
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(bytes)
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

fn guess(source: &mut dyn Read) -> io::Result<&'static Encoding> {
    let mut whole = Vec::new();
    let (mut valid, mut is_first) = (true, true);
    let mut detector = EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = source.read(&mut block)?;
        if count == 0 {
            break;
        }
        if let Some(marked) = marked_16(&block[..count]).filter(|_| is_first) {
            return Ok(marked);
        }
        is_first = false;
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

/// The kind of UTF-16 whose mark begins these bytes.
fn marked_16(bytes: &[u8]) -> Option<&'static Encoding> {
    let marked = MARKS_16.iter().find(|(mark, _)| bytes.starts_with(mark));
    marked.map(|(_, encoding)| *encoding)
}

/// Bytes of the mark a file begins with.
fn mark_length(bytes: &[u8], encoding: &'static Encoding) -> usize {
    match marked_16(bytes) {
        Some(marked) if marked == encoding => 2,
        _ if bytes.starts_with(MARK) => MARK.len(),
        _ => 0,
    }
}

impl Decoder {
    fn new(encoding: &'static Encoding) -> Self {
        Self {
            decoder: encoding.new_decoder_without_bom_handling(),
            input: Vec::new(),
            start: 0,
            begun: false,
            finished: false,
        }
    }
}

impl TextStream {
    /// Appends more text to `text`; false at the end.
    pub(super) fn fill(&mut self, text: &mut String) -> io::Result<bool> {
        if self.decoder.is_none() {
            return self.fill_plain(text);
        }
        let start = text.len();
        while text.len() == start {
            if !self.decode(text)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Appends bytes that are UTF-8 already. What is not is left to a decoder, from there on.
    fn fill_plain(&mut self, text: &mut String) -> io::Result<bool> {
        let kept = self.cut.len();
        self.block.clear();
        self.block.append(&mut self.cut);
        self.block.resize(kept + BLOCK_BYTES, 0);
        let count = self.source.read(&mut self.block[kept..])?;
        self.block.truncate(kept + count);
        if self.block.is_empty() {
            return Ok(false);
        }
        if count > 0 {
            self.cut = self.block.split_off(self.block.len() - cut_character(&self.block));
        }
        match std::str::from_utf8(&self.block) {
            Ok(whole) => text.push_str(whole),
            Err(error) => {
                let (valid, rest) = self.block.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                self.decoder = Some(Decoder {
                    input: [rest, &self.cut].concat(),
                    begun: true,
                    ..Decoder::new(encoding_rs::UTF_8)
                });
                self.is_plain = false;
            }
        }
        Ok(true)
    }

    fn decode(&mut self, text: &mut String) -> io::Result<bool> {
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
            state.start = if std::mem::replace(&mut state.begun, true) {
                0
            } else {
                mark_length(&state.input, state.decoder.encoding())
            };
        }
        let last = state.input.is_empty();
        let before = text.len();
        text.reserve(4 * BLOCK_BYTES);
        let (result, read) =
            state
                .decoder
                .decode_to_string_without_replacement(&state.input[state.start..], text, last);
        state.start += read;
        match result {
            DecoderResult::Malformed(..) => {
                text.push('\u{fffd}');
                self.replaced_characters += 1;
            }
            DecoderResult::InputEmpty => state.finished = last,
            DecoderResult::OutputFull => {}
        }
        Ok(!state.finished || text.len() > before)
    }
}

/// Bytes at the end that begin a character of UTF-8 and do not end it.
fn cut_character(bytes: &[u8]) -> usize {
    let tail = bytes.iter().rev().take(3).position(|byte| byte & 0xc0 != 0x80);
    let Some(behind) = tail else { return 0 };
    let length = match bytes[bytes.len() - 1 - behind] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if behind + 1 < length { behind + 1 } else { 0 }
}
