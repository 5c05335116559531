//! `$(VAR)` in commands, arguments and values of variables. Pure.

/// Replaces each `$(NAME)` that `lookup` knows; `$$` is one `$` that begins nothing; what is
/// unknown or not closed stays as it is.
pub fn expand(input: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut output = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        output.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(more) = after.strip_prefix('$') {
            output.push('$');
            rest = more;
        } else if let Some((name, more)) = after.strip_prefix('(').and_then(|open| open.split_once(')')) {
            match lookup(name) {
                Some(value) => output.push_str(&value),
                None => output.push_str(&rest[at..at + name.len() + 3]),
            }
            rest = more;
        } else {
            output.push('$');
            rest = after;
        }
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_kubernetes_does() {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "D" => Some("$(A)".to_owned()),
            _ => None,
        };
        for (input, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(EMPTY)", ""),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$", "$"),
            ("a$$", "a$"),
            ("$(D)", "$(A)"),
        ] {
            assert_eq!(expand(input, lookup), expected, "{input}");
        }
    }
}
