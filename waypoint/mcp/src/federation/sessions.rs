//! The token of a session with several servers: the sessions at all of them, small enough for a header.
//!
//! What does not fit is left out and opened again when it is needed, as is the session of a server that was down.

use std::sync::Arc;

use aws_lc_rs::aead::NONCE_LEN;
use mesh::{names::WorkloadUid, resource::BackendTarget};

use crate::{
    head::VALUE_MAX,
    revision::Revision,
    seal::{Form, Sealer},
    session::UPSTREAM_MAX,
};

/// How long what a caller says of itself may be to be kept, in bytes; longer is left out when a session is opened
/// again.
pub(crate) const HELLO_MAX: usize = 1024;
/// How many servers one backend may have, and so one token.
pub(crate) const SERVERS_MAX: usize = 64;

/// A session at one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) server: Arc<str>,
    /// Where it lives; a server without sessions may be anywhere.
    pub(crate) endpoint: Option<WorkloadUid>,
    /// What the server calls it; nothing: it has none.
    pub(crate) id: String,
    /// What was agreed on.
    pub(crate) revision: Revision,
}

/// A caller's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sessions {
    /// Whose it is.
    pub(crate) principal: String,
    /// Of which backend and route.
    pub(crate) place: String,
    /// What the caller said of itself: its capabilities and name, as JSON of `initialize` parameters.
    pub(crate) hello: String,
    /// What was agreed on with the caller.
    pub(crate) revision: Revision,
    /// At each server.
    pub(crate) servers: Vec<Upstream>,
}

impl Sessions {
    /// A token that a header can carry, and how many servers had to be left out for that. `None`: not even without
    /// them.
    pub(crate) fn seal(&self, sealer: &Sealer, nonce: [u8; NONCE_LEN]) -> Option<(String, usize)> {
        let mut kept = self.clone();
        let mut left_out = 0;
        loop {
            let token = sealer.seal(Form::Sessions, "", kept.write()?, nonce)?;
            if token.len() <= VALUE_MAX {
                return Some((token, left_out));
            }
            // A nonce is used once, but what was sealed here under it is not given to anybody.
            let longest = (0..kept.servers.len()).max_by_key(|at| kept.servers[*at].id.len())?;
            kept.servers.remove(longest);
            left_out += 1;
        }
    }

    /// The backend, for whoever leads a request.
    pub(crate) fn target(&self) -> Option<BackendTarget> {
        let backend = self.place.split(" by ").next()?;
        backend.parse().ok().map(BackendTarget::Agent)
    }

    pub(crate) fn open(sealer: &Sealer, token: &str) -> Option<Self> {
        Self::read(&sealer.open(Form::Sessions, "", token)?)
    }

    fn write(&self) -> Option<Vec<u8>> {
        let mut out = Writer(Vec::new());
        out.text(&self.principal)?;
        out.text(&self.place)?;
        out.text(&self.hello)?;
        out.0.push(code(self.revision));
        out.0.push(u8::try_from(self.servers.len()).ok()?);
        let mut before = String::new();
        for server in &self.servers {
            out.text(&server.server)?;
            // Endpoints are much alike: how much is as before, and the rest.
            let endpoint = server.endpoint.as_ref().map(ToString::to_string).unwrap_or_default();
            let alike =
                before.bytes().zip(endpoint.bytes()).take_while(|(one, other)| one == other).count().min(255);
            let alike = (0..=alike).rev().find(|at| endpoint.is_char_boundary(*at)).unwrap_or_default();
            out.0.push(u8::try_from(alike).ok()?);
            out.text(&endpoint[alike..])?;
            before = endpoint;
            out.0.push(code(server.revision));
            out.id(&server.id)?;
        }
        Some(out.0)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (principal, place, hello) = (from.text()?, from.text()?, from.text()?);
        let revision = revision_of(from.byte()?)?;
        let count = from.byte()?;
        let mut servers = Vec::new();
        let mut before = String::new();
        for _ in 0..count {
            let server = from.text()?.into();
            let alike = usize::from(from.byte()?);
            let endpoint = format!("{}{}", before.get(..alike)?, from.text()?);
            let revision = revision_of(from.byte()?)?;
            let id = from.id()?;
            before.clone_from(&endpoint);
            let endpoint = (!endpoint.is_empty()).then(|| WorkloadUid::from(endpoint.as_str()));
            servers.push(Upstream { server, endpoint, id, revision });
        }
        from.0.is_empty().then_some(Self { principal, place, hello, revision, servers })
    }
}

fn code(revision: Revision) -> u8 {
    Revision::ALL
        .iter()
        .position(|it| *it == revision)
        .and_then(|at| u8::try_from(at).ok())
        .unwrap_or(u8::MAX)
}

fn revision_of(code: u8) -> Option<Revision> {
    Revision::ALL.get(usize::from(code)).copied()
}

struct Writer(Vec<u8>);

impl Writer {
    fn text(&mut self, text: &str) -> Option<()> {
        self.0.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
        Some(())
    }

    /// Session ids are mostly hex digits, with or without the dashes of a UUID: half of them is enough.
    fn id(&mut self, id: &str) -> Option<()> {
        let bare: String = id.chars().filter(|sign| *sign != '-').collect();
        let form = if id.is_empty() {
            0
        } else if unhex(&bare).is_some() && id == bare {
            1
        } else if unhex(&bare).is_some() && dashed(&bare).as_deref() == Some(id) {
            2
        } else {
            3
        };
        self.0.push(form);
        match (form, unhex(&bare)) {
            (0, _) => {}
            (1 | 2, Some(bytes)) => {
                self.0.push(u8::try_from(bytes.len()).ok()?);
                self.0.extend_from_slice(&bytes);
            }
            _ => self.text(id)?,
        }
        Some(())
    }
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn text(&mut self) -> Option<String> {
        let length = self.take(2)?.first_chunk::<2>().copied()?;
        let taken = self.take(usize::from(u16::from_be_bytes(length)))?;
        String::from_utf8(taken.to_vec()).ok()
    }

    fn id(&mut self) -> Option<String> {
        let form = self.byte()?;
        let id = match form {
            0 => String::new(),
            1 | 2 => {
                let length = usize::from(self.byte()?);
                let bare = hex(self.take(length)?);
                if form == 2 { dashed(&bare)? } else { bare }
            }
            3 => self.text()?,
            _ => return None,
        };
        (id.len() <= UPSTREAM_MAX).then_some(id)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let lower = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !lower || !text.len().is_multiple_of(2) || text.len() / 2 > 255 {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

fn dashed(bare: &str) -> Option<String> {
    (bare.len() == 32)
        .then(|| [&bare[..8], &bare[8..12], &bare[12..16], &bare[16..20], &bare[20..]].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(count: usize, id: impl Fn(usize) -> String) -> Sessions {
        let server = |at: usize| Upstream {
            server: format!("server-{at}").into(),
            endpoint: Some(format!("west/strait.dev/MeshWorkload/shop/server-{at}-1").as_str().into()),
            id: id(at),
            revision: Revision::V2025_11_25,
        };
        Sessions {
            principal: "spiffe://east.example/ns/agents/sa/planner".into(),
            place: "AgentBackend/shop/toolbox at HTTPRoute/shop/tools".into(),
            hello: r#"{"capabilities":{"elicitation":{}},"clientInfo":{"name":"planner","version":"1"}}"#
                .into(),
            revision: Revision::V2025_06_18,
            servers: (0..count).map(server).collect(),
        }
    }

    fn sealer() -> Sealer {
        Sealer::new(&[7; 32], &[]).unwrap()
    }

    #[test]
    fn sixty_four_sessions_fit_in_a_header() {
        for id in [
            |at: usize| format!("{at:032x}"),
            |at: usize| dashed(&format!("{at:032x}")).unwrap(),
            |at: usize| format!("session {at}"),
            |_: usize| String::new(),
        ] {
            let all = sessions(SERVERS_MAX, id);
            let (token, left_out) = all.seal(&sealer(), [1; NONCE_LEN]).unwrap();
            assert!(token.len() <= VALUE_MAX && left_out == 0, "{}", token.len());
            assert_eq!(Sessions::open(&sealer(), &token), Some(all));
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_said() {
        let all = sessions(SERVERS_MAX, |at| "x".repeat(if at == 3 { UPSTREAM_MAX } else { 120 }));
        let (token, left_out) = all.seal(&sealer(), [1; NONCE_LEN]).unwrap();
        assert!(left_out > 0 && token.len() <= VALUE_MAX);
        let opened = Sessions::open(&sealer(), &token).unwrap();
        assert_eq!(opened.servers.len() + left_out, SERVERS_MAX);
        assert!(opened.servers.iter().all(|server| &*server.server != "server-3"));
        let none = Sessions { hello: "x".repeat(2 * VALUE_MAX), ..sessions(0, |_| String::new()) };
        assert_eq!(none.seal(&sealer(), [1; NONCE_LEN]), None);
    }

    #[test]
    fn ids_come_back_as_they_were() {
        for id in ["", "0a", "0A", "abc", "-", "0a-", "00000000-0000-0000-0000-00000000000g", "ü"] {
            let one = sessions(1, |_| id.to_owned());
            let (token, _) = one.seal(&sealer(), [1; NONCE_LEN]).unwrap();
            assert_eq!(Sessions::open(&sealer(), &token), Some(one), "{id}");
        }
    }
}
