//! Turns the events of a provider's stream into the caller's, one by one. Pure: bytes in, bytes out.

use bytes::Bytes;
use exchange::{Watches, sse::Event};
use mesh::Denial;
use serde_json::Value;

use crate::{
    chat, messages,
    neutral::{Piece, Usage},
    operation::Dialect,
    responses,
    same::{Edited, Editor},
    watch::Guarded,
};

/// Why a stream cannot go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Broken {
    /// It is not of its protocol, or broke off.
    #[error("the stream is malformed or was cut: {0}")]
    Malformed(String),
    /// The provider says so.
    #[error("the provider broke off: {kind}")]
    Provider {
        /// The kind of the error, by the provider's word.
        kind: String,
        /// What it says; it may repeat what was sent.
        message: String,
    },
    /// A guard refuses.
    #[error("{0}")]
    Refused(Denial),
}

enum Reader {
    Chat(chat::Reader),
    Messages(messages::Reader),
    Responses(responses::Reader),
}

enum Writer {
    Same(Editor),
    Chat(chat::Writer),
    Messages(messages::Writer),
    Responses(responses::Writer),
}

/// Turns one stream.
pub struct Turner {
    caller: Dialect,
    reader: Reader,
    writer: Writer,
    guard: Option<Guarded>,
    // The channel that the caller is being told, where the stream is translated.
    channel: Option<Channel>,
    answers: u64,
    stops: u64,
    /// What was used, as far as it was said.
    pub usage: Option<Usage>,
    // Whether the usage was said at the end of the answer or after.
    usage_at_end: bool,
    /// Something of the answer has come.
    pub begun: bool,
    /// The stream is complete.
    pub ended: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Channel {
    Text,
    Reasoning,
    Arguments(u64),
}

impl Channel {
    fn name(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Reasoning => "reasoning".to_owned(),
            Self::Arguments(slot) => format!("tool/{slot}"),
        }
    }

    fn piece(&self, text: String) -> Piece {
        match self {
            Self::Text => Piece::Text { choice: 0, text },
            Self::Reasoning => Piece::Reasoning(text),
            Self::Arguments(slot) => Piece::Arguments { slot: *slot, text },
        }
    }
}

/// How a stream is turned.
pub struct Turning<'w> {
    /// What the provider speaks.
    pub upstream: Dialect,
    /// What the caller speaks.
    pub caller: Dialect,
    /// Whether the caller asked to be told what was used.
    pub tells_usage: bool,
    /// How many answers were asked for.
    pub answers: u64,
    /// The time, in seconds since 1970.
    pub created: u64,
    /// Who watches the text.
    pub watches: Option<&'w Watches>,
}

impl Turner {
    /// Begins.
    pub fn new(turning: &Turning<'_>) -> Self {
        let reader = match turning.upstream {
            Dialect::Chat => Reader::Chat(chat::Reader::default()),
            Dialect::Messages => Reader::Messages(messages::Reader::default()),
            Dialect::Responses => Reader::Responses(responses::Reader::default()),
        };
        let writer = match turning.caller {
            same if same == turning.upstream => Writer::Same(Editor::new(same, turning.tells_usage)),
            Dialect::Chat => Writer::Chat(chat::Writer::new(turning.created, turning.tells_usage)),
            Dialect::Messages => Writer::Messages(messages::Writer::default()),
            Dialect::Responses => Writer::Responses(responses::Writer::new(turning.created)),
        };
        Self {
            caller: turning.caller,
            reader,
            writer,
            guard: turning.watches.map(Guarded::new),
            channel: None,
            answers: turning.answers,
            stops: 0,
            usage: None,
            usage_at_end: false,
            begun: false,
            ended: false,
        }
    }

    /// What was used, if it was said when the answer was complete.
    pub fn final_usage(&self) -> Option<Usage> {
        self.usage.filter(|_| self.usage_at_end)
    }

    /// Turns one event, frame included.
    ///
    /// # Errors
    /// When the stream cannot go on. What was returned before stands.
    pub fn event(&mut self, block: &Bytes) -> Result<Vec<Bytes>, Broken> {
        if self.ended {
            return Ok(Vec::new());
        }
        let malformed = |error: &dyn std::fmt::Display| Broken::Malformed(error.to_string());
        let event = Event::parse(block).map_err(|error| malformed(&error))?;
        let Some(data) = event.data.as_deref().map(str::trim).filter(|data| !data.is_empty()) else {
            // A comment, which keeps the connection alive.
            return Ok(if matches!(self.writer, Writer::Same(_)) { vec![block.clone()] } else { Vec::new() });
        };
        if data == "[DONE]" {
            return self.finish();
        }
        let data: Value = serde_json::from_str(data).map_err(|error| malformed(&error))?;
        let pieces = match &mut self.reader {
            Reader::Chat(reader) => reader.read(&data),
            Reader::Messages(reader) => reader.read(&data),
            Reader::Responses(reader) => reader.read(&data),
        };
        self.account(&pieces);
        if let Some(Piece::Error { kind, message }) =
            pieces.iter().find(|piece| matches!(piece, Piece::Error { .. }))
        {
            return Err(Broken::Provider { kind: kind.clone(), message: message.clone() });
        }
        if matches!(self.writer, Writer::Same(_)) {
            return self.edit(block, &event, &data);
        }
        let mut out = Vec::new();
        for piece in pieces {
            self.translate(piece, &mut out)?;
        }
        Ok(out)
    }

    fn account(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            self.begun |= piece.is_content();
            match piece {
                Piece::Stop(_) => self.stops = self.stops.saturating_add(1),
                Piece::Usage(usage) => self.usage = Some(*usage),
                Piece::End => self.ended = true,
                _ => {}
            }
        }
        let told = pieces.iter().any(|piece| matches!(piece, Piece::Usage(_)));
        self.usage_at_end |= told && (self.stops >= self.answers || self.ended);
    }

    fn edit(&mut self, block: &Bytes, event: &Event, data: &Value) -> Result<Vec<Bytes>, Broken> {
        let Writer::Same(editor) = &mut self.writer else { return Ok(Vec::new()) };
        let edited = editor.edit(data, self.guard.as_mut()).map_err(|denial| match denial {
            Some(denial) => Broken::Refused(denial),
            None => Broken::Malformed("the answer has too many parts".to_owned()),
        })?;
        let caller = self.caller;
        Ok(match edited {
            Edited::Same => vec![block.clone()],
            Edited::Nothing => Vec::new(),
            Edited::Others(others) => {
                let last = others.len().saturating_sub(1);
                let encode = |(at, data): (usize, Value)| {
                    if at == last {
                        return Event { data: Some(data.to_string()), ..event.clone() }.encode();
                    }
                    frame(caller, &data)
                };
                others.into_iter().enumerate().map(encode).collect()
            }
        })
    }

    fn translate(&mut self, piece: Piece, out: &mut Vec<Bytes>) -> Result<(), Broken> {
        if self.guard.is_some() {
            let (channel, text) = match &piece {
                Piece::Text { text, .. } => (Some(Channel::Text), Some(text)),
                Piece::Reasoning(text) => (Some(Channel::Reasoning), Some(text)),
                Piece::Arguments { slot, text } => (Some(Channel::Arguments(*slot)), Some(text)),
                Piece::Usage(_) => (self.channel.clone(), None),
                _ => (None, None),
            };
            if channel != self.channel {
                self.end_channel(out)?;
                self.channel = channel;
            }
            if let (Some(text), Some(channel), Some(guard)) = (text, &self.channel, &mut self.guard) {
                let may = guard.text(&channel.name(), text).map_err(Broken::Refused)?;
                let piece = channel.piece(may);
                self.write(&piece, out);
                return Ok(());
            }
        }
        self.write(&piece, out);
        Ok(())
    }

    fn end_channel(&mut self, out: &mut Vec<Bytes>) -> Result<(), Broken> {
        if let (Some(channel), Some(guard)) = (self.channel.take(), &mut self.guard) {
            let rest = guard.end(&channel.name()).map_err(Broken::Refused)?;
            if !rest.is_empty() {
                self.write(&channel.piece(rest), out);
            }
        }
        Ok(())
    }

    fn write(&mut self, piece: &Piece, out: &mut Vec<Bytes>) {
        // A guard may hold all of a text back.
        if let Piece::Text { text, .. } | Piece::Reasoning(text) | Piece::Arguments { text, .. } = piece
            && text.is_empty()
        {
            return;
        }
        match &mut self.writer {
            Writer::Same(_) => {}
            Writer::Chat(writer) => {
                out.extend(writer.write(piece).into_iter().map(unnamed));
            }
            Writer::Messages(writer) => out.extend(writer.write(piece).into_iter().map(named)),
            Writer::Responses(writer) => out.extend(writer.write(piece).into_iter().map(named)),
        }
    }

    /// The stream has come to its end: what is still to be written.
    ///
    /// # Errors
    /// When it was not complete, or a guard refuses what it held back.
    pub fn finish(&mut self) -> Result<Vec<Bytes>, Broken> {
        if self.ended {
            return Ok(Vec::new());
        }
        if self.stops == 0 {
            return Err(Broken::Malformed("it ended before the answer did".to_owned()));
        }
        let mut out = Vec::new();
        match &mut self.writer {
            Writer::Same(editor) => {
                if let Some(guard) = &mut self.guard {
                    let rest = editor.end(guard).map_err(Broken::Refused)?;
                    out.extend(rest.iter().map(|data| frame(self.caller, data)));
                }
                if self.caller == Dialect::Chat {
                    out.push(unnamed("[DONE]".to_owned()));
                }
            }
            _ => self.translate(Piece::End, &mut out)?,
        }
        self.ended = true;
        Ok(out)
    }
}

fn unnamed(data: String) -> Bytes {
    Event { data: Some(data), ..Event::default() }.encode()
}

fn named((name, data): (String, String)) -> Bytes {
    Event { name: Some(name), data: Some(data), ..Event::default() }.encode()
}

/// An event as this API frames it.
fn frame(dialect: Dialect, data: &Value) -> Bytes {
    match (dialect, data.get("type").and_then(Value::as_str)) {
        (Dialect::Chat, _) | (_, None) => unnamed(data.to_string()),
        (_, Some(name)) => named((name.to_owned(), data.to_string())),
    }
}

/// An error in a stream that has begun, as this API says it. Nothing follows it.
pub fn error_event(dialect: Dialect, kind: &str, message: &str) -> Bytes {
    match dialect {
        Dialect::Chat => unnamed(chat::error(kind, message, Some(kind)).to_string()),
        Dialect::Messages => named(("error".to_owned(), messages::error(kind, message).to_string())),
        Dialect::Responses => {
            let data = serde_json::json!({
                "type": "error", "code": kind, "message": message, "param": null, "sequence_number": 0,
            });
            named(("error".to_owned(), data.to_string()))
        }
    }
}
