//! `strait token`: the join token of a node or gateway.

use anyhow::Context as _;
use controlplane::tokens::{Owner, Tokens};

use crate::args::{Joiner, Token};

pub(crate) fn run(arguments: &Token) -> anyhow::Result<()> {
    let owner = match arguments.who {
        Joiner::Node => Owner::Node(arguments.name.clone()),
        Joiner::Gateway => {
            let (namespace, name) = arguments
                .name
                .split_once('/')
                .with_context(|| format!("{:?} is not NAMESPACE/NAME of a gateway", arguments.name))?;
            Owner::Gateway(namespace.to_owned(), name.to_owned())
        }
    };
    let tokens = Tokens::open(&arguments.state.join("tokens"), rand::random)?;
    println!("{}", tokens.file(&owner)?.display());
    Ok(())
}
