//! Server-sent events (WHATWG HTML, section 9.2) as messages: a block of lines up to and with its empty line.

use bytes::{Bytes, BytesMut};

use crate::{Framer, FramingError};

/// Cuts an event stream into events.
#[derive(Debug)]
pub struct Events {
    buffer: BytesMut,
    // Bytes of the buffer in which no end of an event begins.
    searched: usize,
    limit: usize,
    begun: bool,
}

impl Events {
    /// Events of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, limit, begun: false }
    }
}

/// The fields of one event that matter to those who judge it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// `event`, if it is named.
    pub name: Option<String>,
    /// `id`, if it has one.
    pub id: Option<String>,
    /// `retry`, as it stood.
    pub retry: Option<String>,
    /// Its `data` lines, joined by line feeds. `None` if there is none: a comment, or fields alone.
    pub data: Option<String>,
}

impl Event {
    /// Reads one event as [`Events`] yields it.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn parse(block: &[u8]) -> Result<Self, FramingError> {
        let text =
            std::str::from_utf8(block).map_err(|_| FramingError::Malformed("an event is not UTF-8"))?;
        let mut event = Self::default();
        for line in lines(text) {
            if line.is_empty() || line.starts_with(':') {
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => event.name = Some(value.to_owned()),
                "id" => event.id = Some(value.to_owned()),
                "retry" => event.retry = Some(value.to_owned()),
                "data" => match &mut event.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => event.data = Some(value.to_owned()),
                },
                _ => {}
            }
        }
        Ok(event)
    }

    /// The event as it stands in a stream.
    pub fn encode(&self) -> Bytes {
        let mut out = String::new();
        let mut field = |name: &str, value: &str| {
            for line in lines(value) {
                out.push_str(name);
                out.push_str(": ");
                out.push_str(line);
                out.push('\n');
            }
        };
        if let Some(name) = &self.name {
            field("event", name);
        }
        if let Some(id) = &self.id {
            field("id", id);
        }
        if let Some(retry) = &self.retry {
            field("retry", retry);
        }
        if let Some(data) = &self.data {
            field("data", data);
        }
        out.push('\n');
        Bytes::from(out)
    }
}

// Lines end in CRLF, LF or CR.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.find(['\r', '\n']) {
            None => {
                rest = None;
                Some(text)
            }
            Some(at) => {
                let ended = if text[at..].starts_with("\r\n") { at + 2 } else { at + 1 };
                rest = Some(&text[ended..]);
                Some(&text[..at])
            }
        }
    })
}

impl Framer for Events {
    fn push(&mut self, bytes: Bytes) {
        self.buffer.extend_from_slice(&bytes);
        if !self.begun && self.buffer.len() >= 3 {
            self.begun = true;
            if self.buffer.starts_with(b"\xef\xbb\xbf") {
                let _ = self.buffer.split_to(3);
            }
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>, FramingError> {
        match end_of_event(&self.buffer, self.searched) {
            Found::At(end) if end > self.limit => Err(FramingError::TooLarge { limit: self.limit }),
            Found::At(end) => {
                self.searched = 0;
                Ok(Some(self.buffer.split_to(end).freeze()))
            }
            Found::NotBefore(at) => {
                self.searched = at;
                if self.buffer.len() > self.limit {
                    return Err(FramingError::TooLarge { limit: self.limit });
                }
                Ok(None)
            }
        }
    }

    fn finish(&mut self) -> Result<Option<Bytes>, FramingError> {
        // "Once the end of the file is reached, any pending data must be discarded" (section 9.2.6). A final line
        // feed may complete an event that ends in a lone CR.
        let mut rest = std::mem::take(&mut self.buffer);
        self.searched = 0;
        if rest.is_empty() {
            return Ok(None);
        }
        rest.extend_from_slice(b"\n");
        match end_of_event(&rest, 0) {
            Found::At(end) if end <= self.limit.saturating_add(1) => Ok(Some(rest.split_to(end).freeze())),
            _ => Ok(None),
        }
    }
}

enum Found {
    At(usize),
    NotBefore(usize),
}

// An event ends after two line ends in a row (or one at its very beginning). A CR at the end of the buffer may still
// become CRLF, so it waits for the next byte.
fn end_of_event(buffer: &[u8], from: usize) -> Found {
    let mut at = from;
    while at < buffer.len() {
        let Some(first) = line_end(buffer, at) else {
            if buffer[at] == b'\r' {
                return Found::NotBefore(at);
            }
            at += 1;
            continue;
        };
        if at == 0 {
            return Found::At(first);
        }
        match line_end(buffer, first) {
            Some(second) => return Found::At(second),
            None if first >= buffer.len() || (buffer[first] == b'\r' && first + 1 == buffer.len()) => {
                return Found::NotBefore(at);
            }
            None => at = first,
        }
    }
    Found::NotBefore(at)
}

fn line_end(buffer: &[u8], at: usize) -> Option<usize> {
    match buffer.get(at)? {
        b'\n' => Some(at + 1),
        b'\r' => buffer.get(at + 1).map(|next| if *next == b'\n' { at + 2 } else { at + 1 }),
        _ => None,
    }
}
