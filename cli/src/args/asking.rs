//! What can be typed after the verbs that ask: who may, what was refused, what would be, one call hop by hop.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::At;

/// What is done at the other end.
#[derive(Debug, Clone, Args)]
pub(crate) struct Act {
    /// By which MCP tool.
    #[arg(long)]
    pub(crate) tool: Option<String>,
    /// An argument of the tool, NAME=VALUE; the value is JSON, or else text.
    #[arg(long = "arg", requires = "tool")]
    pub(crate) arguments: Vec<String>,
    /// By which HTTP method.
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// On which path.
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// By which A2A method, for example SendMessage.
    #[arg(long)]
    pub(crate) message: Option<String>,
    /// With which A2A skill.
    #[arg(long, requires = "message")]
    pub(crate) skill: Option<String>,
    /// Which model, by the provider's own name.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Of which provider.
    #[arg(long, requires = "model")]
    pub(crate) provider: Option<String>,
    /// As which verified user, ISSUER/SUBJECT.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// A claim of the user, NAME=VALUE; the value is JSON, or else text.
    #[arg(long = "claim", requires = "user")]
    pub(crate) claims: Vec<String>,
    /// A scope of the user.
    #[arg(long = "scope", requires = "user")]
    pub(crate) scopes: Vec<String>,
}

impl Act {
    /// Its parameters on an admin page.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let single = [
            ("tool", &self.tool),
            ("method", &self.method),
            ("path", &self.path),
            ("message", &self.message),
            ("skill", &self.skill),
            ("model", &self.model),
            ("provider", &self.provider),
            ("user", &self.user),
        ];
        let single = single.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        let lists = [("arg", &self.arguments), ("claim", &self.claims), ("scope", &self.scopes)];
        let lists = lists.into_iter().flat_map(|(name, all)| all.iter().map(move |one| (name, one.clone())));
        single.chain(lists).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Can {
    /// Who: NAMESPACE/SERVICE-ACCOUNT, a SPIFFE identity, or `unknown`.
    pub(crate) who: String,
    /// The word `call`.
    #[arg(value_parser = ["call"])]
    pub(crate) call: String,
    /// What: NAMESPACE/SERVICE:PORT or a full name.
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) act: Act,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct WhoCan {
    /// The word `call`.
    #[arg(value_parser = ["call"])]
    pub(crate) call: String,
    /// What: NAMESPACE/SERVICE:PORT or a full name.
    pub(crate) what: String,
    /// Also show who may not, and why.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) act: Act,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Who: NAMESPACE/SERVICE-ACCOUNT, a SPIFFE identity, or `unknown`.
    pub(crate) who: String,
    /// As which verified user, ISSUER/SUBJECT.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Also show what may not be used, and why.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct Denied {
    /// Only of callers or destinations of this namespace.
    #[arg(long, short)]
    pub(crate) namespace: Option<String>,
    /// How far back: 30s, 10m, 2h.
    #[arg(long, default_value = "10m", value_parser = seconds)]
    pub(crate) since: u64,
    /// Go on as they come, until interrupted.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only of this caller: NAMESPACE/SERVICE-ACCOUNT or an identity.
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Only at this destination: NAMESPACE/SERVICE or a name.
    #[arg(long)]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// The policy: NAME or NAMESPACE/NAME.
    pub(crate) policy: String,
    /// How far back: 10m, 1h, at most 24h.
    #[arg(long, default_value = "1h", value_parser = seconds)]
    pub(crate) since: u64,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct Try {
    /// The file with the objects that are not applied yet.
    #[arg(long, short)]
    pub(crate) file: PathBuf,
    /// How far back decisions are tried: 10m, 1h, at most 24h.
    #[arg(long, default_value = "1h", value_parser = seconds)]
    pub(crate) since: u64,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// The trace, 32 hex digits, as in access logs. Left out: the latest call that fits.
    pub(crate) id: Option<String>,
    /// The latest call of this caller.
    #[arg(long, conflicts_with = "id")]
    pub(crate) from: Option<String>,
    /// The latest call to this destination.
    #[arg(long, conflicts_with = "id")]
    pub(crate) to: Option<String>,
    /// The latest call of this tool.
    #[arg(long, conflicts_with = "id")]
    pub(crate) tool: Option<String>,
    /// The state directory of a further cluster through which the call went.
    #[arg(long = "and", value_name = "STATE")]
    pub(crate) others: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Who must stop now: NAMESPACE/SERVICE-ACCOUNT or a SPIFFE identity.
    pub(crate) identity: String,
    /// Why, for those who read it later.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct Root {
    /// What to do.
    #[arg(value_enum)]
    pub(crate) step: RootStep,
    /// With advance and back: a link whose cluster need not have told that it is ready; it may lose us until it
    /// fetches our bundle.
    #[arg(long, value_name = "LINK")]
    pub(crate) without_links: Vec<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What can be done with a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RootStep {
    /// How far is it, and who is not ready for the next step.
    Status,
    /// Makes a new root, and has everybody believe both.
    Rotate,
    /// Takes the next step.
    Advance,
    /// Takes the last step back.
    Back,
}

impl RootStep {
    /// As the control plane calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Rotate => "rotate",
            Self::Advance => "advance",
            Self::Back => "back",
        }
    }
}

/// A span as people write it.
fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) =
        text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{text:?} is no span: write 30s, 10m or 2h")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no span: write 30s, 10m or 2h"))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn spans_are_as_people_write_them() {
        for (text, expected) in [
            ("30s", Some(30)),
            ("10m", Some(600)),
            ("2h", Some(7200)),
            ("5", Some(5)),
            ("", None),
            ("m", None),
            ("1d", None),
            ("-1s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
    }
}
