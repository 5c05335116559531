//! The one form between the protocols: what a prompt asks, what a model answers, whole or piece by piece.
//!
//! A protocol is read into it by one file and written from it by the same (`chat`, `messages`, `responses`). What a
//! protocol says and this form has no word for stays in `rest`, under its own name, and makes the prompt
//! untranslatable; nothing is dropped in silence.

use serde_json::Value;

use crate::json::Object;

/// Content that has no form in the other protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} has no form in the protocol of the provider")]
pub struct NotTranslatable {
    /// Where it stands in the request.
    pub field: String,
}

impl NotTranslatable {
    /// This field.
    pub fn at(field: impl Into<String>) -> Self {
        Self { field: field.into() }
    }
}

/// What is asked of a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prompt {
    /// What comes before the conversation.
    pub system: Vec<String>,
    /// The conversation.
    pub turns: Vec<Turn>,
    /// What may be called.
    pub tools: Vec<Tool>,
    /// Whether something must be called.
    pub choice: Option<Choice>,
    /// Whether several may be called at once.
    pub parallel: Option<bool>,
    /// Most tokens of the answer.
    pub output_most: Option<u64>,
    /// Sampling.
    pub temperature: Option<f64>,
    /// Sampling.
    pub top_p: Option<f64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Whether the answer comes in pieces.
    pub stream: bool,
    /// The end user, as the caller names it.
    pub user: Option<String>,
    /// What has no word here.
    pub rest: Object,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The caller.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub parts: Vec<Part>,
}

/// A part of a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text.
    Text(String),
    /// A picture.
    Image(Image),
    /// The model calls a tool.
    Call {
        /// Names the call.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        arguments: Object,
    },
    /// What a tool answered.
    Outcome {
        /// The call.
        id: String,
        /// The answer.
        parts: Vec<Part>,
        /// Whether the tool failed.
        failed: bool,
    },
}

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Image {
    /// Where it can be fetched by the provider.
    Url(String),
    /// Itself.
    Base64 {
        /// Its media type.
        media: String,
        /// Its bytes, in base64.
        data: String,
    },
}

impl Image {
    /// A picture by URL, which may be a `data:` one.
    pub fn of(url: &str) -> Option<Self> {
        match url.strip_prefix("data:") {
            None => Some(Self::Url(url.to_owned())),
            Some(rest) => {
                let (media, data) = rest.split_once(";base64,")?;
                Some(Self::Base64 { media: media.to_owned(), data: data.to_owned() })
            }
        }
    }

    /// It as a URL.
    pub fn url(&self) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::Base64 { media, data } => format!("data:{media};base64,{data}"),
        }
    }
}

/// A tool that may be called.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The schema of its arguments.
    pub schema: Value,
    /// Whether the model is held to the schema.
    pub strict: Option<bool>,
}

/// Whether a tool must be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// As the model likes.
    Auto,
    /// None.
    None,
    /// Any.
    Required,
    /// This one.
    Named(String),
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The provider's name for it.
    pub id: String,
    /// The model that answered.
    pub model: String,
    /// What it says.
    pub parts: Vec<AnswerPart>,
    /// Why it ended.
    pub stop: Stop,
    /// What it used.
    pub usage: Option<Usage>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerPart {
    /// Text.
    Text(String),
    /// The model's own words to itself, where the provider shows them.
    Reasoning(String),
    /// A tool is called.
    Call {
        /// Names the call.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments, JSON as the model wrote it.
        arguments: String,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// It was complete.
    Complete,
    /// The output limit.
    Length,
    /// Tools are called.
    Call,
    /// One of the texts that end it.
    Text(Option<String>),
    /// The provider would not.
    Refused,
}

/// What a call used, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of the prompt, all of it.
    pub input: u64,
    /// Of the answer, reasoning included.
    pub output: u64,
    /// Of the prompt, read from a cache.
    pub cached: u64,
}

impl Usage {
    /// In and out.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// A piece of an answer that comes in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// It begins.
    Start {
        /// The provider's name for it.
        id: String,
        /// The model.
        model: String,
    },
    /// More text of one of the choices.
    Text {
        /// Which choice.
        choice: u64,
        /// The text.
        text: String,
    },
    /// More of what the model says to itself.
    Reasoning(String),
    /// A call of a tool begins.
    Call {
        /// Which of the calls.
        slot: u64,
        /// Names the call.
        id: String,
        /// The tool.
        name: String,
    },
    /// More of the arguments of a call.
    Arguments {
        /// Which of the calls.
        slot: u64,
        /// The text.
        text: String,
    },
    /// A choice is complete.
    Stop(Stop),
    /// What was used so far. A later one counts in place of an earlier one, field by field where it says more.
    Usage(Usage),
    /// The provider broke off.
    Error {
        /// Its kind, by the provider's word.
        kind: String,
        /// What it says.
        message: String,
    },
    /// The stream is complete.
    End,
}

impl Piece {
    /// True if the caller has seen something of the answer once it is passed on.
    pub fn is_content(&self) -> bool {
        match self {
            Self::Text { text, .. } | Self::Arguments { text, .. } | Self::Reasoning(text) => {
                !text.is_empty()
            }
            Self::Call { .. } | Self::Stop(_) => true,
            Self::Start { .. } | Self::Usage(_) | Self::Error { .. } | Self::End => false,
        }
    }
}
