//! Text not yet split into rows.

use std::io;

use super::decode::TextStream;

/// A stream's text, read as it is needed.
pub(super) struct Text {
    pub(super) stream: TextStream,
    buffer: String,
    start: usize,
    /// Nothing follows what is here.
    pub(super) ended: bool,
}

impl Text {
    pub(super) fn new(stream: TextStream) -> Self {
        Self {
            stream,
            buffer: String::new(),
            start: 0,
            ended: false,
        }
    }

    /// What was read and not taken.
    pub(super) fn rest(&self) -> &str {
        &self.buffer[self.start..]
    }

    /// Takes that many bytes of the rest, up to the end of a row.
    pub(super) fn take(&mut self, length: usize) {
        self.start += length;
    }

    /// Reads more; false at the end.
    pub(super) fn more(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.ended = !self.stream.fill(&mut self.buffer)?;
        Ok(!self.ended)
    }

    /// The next line: its length without its end, and with it; `None` at the end.
    pub(super) fn line(&mut self) -> io::Result<Option<(usize, usize)>> {
        let mut searched = 0;
        loop {
            let rest = self.rest().as_bytes();
            if let Some(at) = memchr::memchr(b'\n', &rest[searched..]) {
                let end = searched + at;
                let cut = usize::from(end > 0 && rest[end - 1] == b'\r');
                return Ok(Some((end - cut, end + 1)));
            }
            searched = rest.len();
            if !self.more()? {
                return Ok((searched > 0).then_some((searched, searched)));
            }
        }
    }
}
