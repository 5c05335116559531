//! Every dependency has a licence under which we may ship it.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::command::{cargo, output};

/// Licences that we accept, one of which must be offered in each alternative.
const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(crate) fn run() -> anyhow::Result<()> {
    eprintln!("==> licences");
    let metadata = output(&mut cargo(&["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let mut refused: BTreeMap<String, String> = BTreeMap::new();
    for package in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
        let name = package["name"].as_str().unwrap_or("?");
        let licence = package["license"].as_str().unwrap_or("");
        if !acceptable(licence) {
            refused.insert(name.to_owned(), licence.to_owned());
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    bail!("licences that we do not accept: {refused:?}")
}

/// True if the SPDX expression can be met with accepted licences. `AND` binds tighter than `OR`.
fn acceptable(expression: &str) -> bool {
    let flat = expression.replace('/', " OR ");
    if let Some((open, close)) =
        flat.find('(').and_then(|open| flat[open..].find(')').map(|close| (open, open + close)))
    {
        let inner = if acceptable(&flat[open + 1..close]) { "MIT" } else { "none" };
        return acceptable(&format!("{}{inner}{}", &flat[..open], &flat[close + 1..]));
    }
    flat.split(" OR ").any(|choice| choice.split(" AND ").all(|one| ACCEPTED.contains(&one.trim())))
}

#[cfg(test)]
mod tests {
    use super::acceptable;

    #[test]
    fn one_accepted_choice_is_enough_and_every_demand_must_be_met() {
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(GPL-3.0 OR MIT) AND ISC", true),
            ("ISC AND (GPL-3.0 OR LGPL-2.1)", false),
            ("", false),
        ] {
            assert_eq!(acceptable(expression), expected, "{expression}");
        }
    }
}
