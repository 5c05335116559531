//! `strait get`: lists what is.

use crate::{args::Get, client::Running, output};

pub(crate) async fn run(arguments: &Get) -> anyhow::Result<()> {
    let running = Running::find(&arguments.at.state)?;
    output::list(arguments.at.output, &running.page(arguments.what.page()).await?)
}
