//! Checks of `ToolCatalog`.

use std::collections::BTreeSet;

use api::catalog::ToolCatalogSpec;

use super::fault::{Fault, each, some};

pub(super) fn check(spec: &ToolCatalogSpec) -> Result<(), Fault> {
    // Not `unique`, which compares each with each: a catalogue may be long.
    let mut seen = BTreeSet::new();
    for (index, tool) in spec.tools.iter().enumerate() {
        if !seen.insert(tool.name.as_str()) {
            return Err(Fault::conflict(format!("tool {} stands there twice", tool.name))
                .remedy("keep the one that was approved last")
                .within("name")
                .item(index)
                .within("tools"));
        }
    }
    each("tools", &spec.tools, |tool| some("pin", tool.pin.as_deref(), check_pin))
}

fn check_pin(pin: &str) -> Result<(), Fault> {
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match pin
        .strip_prefix("sha256:")
        .is_some_and(|digest| digest.len() == 64 && digest.bytes().all(lower_hex))
    {
        true => Ok(()),
        false => Err(Fault::invalid(format!("{pin:?} is not a pin"))
            .remedy("it is sha256: and 64 lower case hex digits, as `strait mcp pin` writes it")),
    }
}
