//! Prints what was asked for: tables for people, JSON or YAML for machines.

use std::io::{self, Write};

use comfy_table::{Table, presets::NOTHING};
use serde_json::Value;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Form {
    /// A table.
    #[default]
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Prints a list of flat objects; the columns are the keys of the first, in its order.
pub(crate) fn list(form: Form, rows: &Value) -> anyhow::Result<()> {
    match form {
        Form::Table => write(&table(rows)),
        Form::Json => write(&serde_json::to_string_pretty(rows)?),
        Form::Yaml => write(serde_saphyr::to_string(rows)?.trim_end()),
    }
}

/// Prints rows; a table has these columns, as far as a row has something there.
pub(crate) fn columns(form: Form, rows: Vec<Value>, columns: &[&str]) -> anyhow::Result<()> {
    if form != Form::Table {
        return list(form, &Value::Array(rows));
    }
    let used = columns.iter().filter(|column| rows.iter().any(|row| !cell(&row[**column]).is_empty()));
    let used: Vec<&str> = used.copied().collect();
    let of = |row: &Value| used.iter().map(|column| ((*column).to_owned(), row[*column].clone())).collect();
    write(&table(&Value::Array(rows.iter().map(|row| Value::Object(of(row))).collect())))
}

/// Prints one value: `people` for a person, the value itself for a machine.
pub(crate) fn one(form: Form, value: &Value, people: &str) -> anyhow::Result<()> {
    match form {
        Form::Table => write(people),
        Form::Json | Form::Yaml => list(form, value),
    }
}

fn table(rows: &Value) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(first) = rows.first().and_then(Value::as_object) else {
        return "nothing".to_owned();
    };
    let columns: Vec<&String> = first.keys().collect();
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|column| column.to_uppercase().replace('_', "-")));
    for row in rows {
        table.add_row(columns.iter().map(|column| cell(&row[column.as_str()])));
    }
    table.trim_fmt()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A reader that has seen enough (`| head`) is no error.
fn write(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::table;

    #[test]
    fn a_table_has_the_keys_of_the_first_row_as_columns() {
        let rows = json!([{ "name": "a", "ready_ports": [1, 2] }, { "name": "b", "ready_ports": null }]);
        assert_eq!(table(&rows), " NAME  READY-PORTS\n a     1,2\n b");
        assert_eq!(table(&json!([])), "nothing");
    }
}
