//! The `csv_table` action: a list as comma-separated values (RFC 4180).
//!
//! Promise: every line ends with CR LF and has as many cells as the first, which holds the headers. A text that a
//! spreadsheet would calculate begins with `'`, because what a lead carries is data: a text that starts with `=`, `@`, a
//! tab or a line break, or with `+` or `-` and is more than digits and the signs of telephone numbers. Numbers stay
//! numbers.

use std::borrow::Cow;

use serde_json::Value;

use super::tables::{self, Keys, Table};
use super::{Action, Next, StartContext};
use crate::flow::catalogue::ActionSpec;
use crate::flow::declared::declared;
use crate::run::Failure;
use crate::template::text_or_json;

/// The `csv_table` action.
#[derive(Debug, Clone, Copy)]
pub struct CsvTable;

impl Action for CsvTable {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "csv_table",
            summary: "writes a list as comma-separated values",
            keys: declared::<Keys>(),
            outputs: &[("(itself)", "the text: a line of headers and one line for each item, each ended by CR LF")],
            example: "name: contacts_csv\ntype: csv_table\nfrom: \"{{trigger.body.Contacts}}\"\ncolumns:\n  - Email\n  - header: Full name\n    value: \"{{item.FirstName}} {{item.LastName}}\"\n",
            operation: None,
            connection_required: false,
            blank_guard: None,
            leaves_the_machine: false,
            responds: false,
            check: Some(tables::check),
        }
    }

    fn start(&self, inputs: &Value, cx: &StartContext) -> Result<Next, Failure> {
        let table = Table::new(inputs)?;
        let mut text = String::new();
        line(&mut text, table.headers().map(guarded));
        for row in 0..table.rows() {
            line(&mut text, table.row(row).map(cell));
            tables::bounded(&text, cx)?;
        }
        Ok(Next::Done(Value::String(text)))
    }
}

/// Writes one line; a line without cells is none.
fn line<'a>(text: &mut String, cells: impl Iterator<Item = Cow<'a, str>>) {
    let start = text.len();
    let mut count = 0;
    for cell in cells {
        if count > 0 {
            text.push(',');
        }
        count += 1;
        if cell.contains([',', '"', '\r', '\n']) || cell.starts_with(' ') || cell.ends_with(' ') {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(&cell);
        }
    }
    // One empty cell is not an empty line.
    if count == 1 && text.len() == start {
        text.push_str("\"\"");
    }
    if count > 0 {
        text.push_str("\r\n");
    }
}

fn cell(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => guarded(text),
        other => text_or_json(other),
    }
}

/// `text` so that no spreadsheet calculates it.
fn guarded(text: &str) -> Cow<'_, str> {
    let is_number = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || " .,-/()".contains(c));
    let mut characters = text.chars();
    let is_formula = match characters.next() {
        Some('=' | '@' | '\t' | '\r' | '\n' | '\u{ff1d}' | '\u{ff20}') => true,
        Some('+' | '-' | '\u{ff0b}' | '\u{ff0d}') => !is_number(characters.as_str()),
        _ => false,
    };
    if is_formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn csv(inputs: &Value) -> String {
        match CsvTable.start(inputs, &StartContext::for_tests()) {
            Ok(Next::Done(Value::String(text))) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let items = json!([
            {"plain": "a", "quoted": "x, \"y\"", "lines": "1\r\n2", "number": -1.5, "none": null, "list": [1, "a"]},
            {"plain": " b", "flag": true},
        ]);
        let want = "plain,quoted,lines,number,none,list,flag\r\n\
                    a,\"x, \"\"y\"\"\",\"1\r\n2\",-1.5,,\"[1,\"\"a\"\"]\",\r\n\
                    \" b\",,,,,,true\r\n";
        assert_eq!(csv(&json!({ "from": items })), want);
    }

    #[test]
    fn nothing_is_an_empty_text_and_one_empty_cell_a_line() {
        assert_eq!(csv(&json!({"from": []})), "");
        assert_eq!(csv(&json!({"from": [], "columns": ["a", "b"]})), "a,b\r\n");
        assert_eq!(csv(&json!({"from": [{"a": ""}]})), "a\r\n\"\"\r\n");
    }

    #[test]
    fn no_text_of_a_lead_is_a_formula() {
        for evil in ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3+cmd|x", "\t=1", "\r=1", "\u{ff1d}1"] {
            assert!(guarded(evil).starts_with('\''), "{evil:?}");
        }
        for fine in ["+49 (30) 123-45.6", "-5", "-", "Jane", "a=b", ""] {
            assert_eq!(guarded(fine), fine);
        }
        assert_eq!(csv(&json!({"from": [{"=x": -5}]})), "'=x\r\n-5\r\n", "headers may come from a lead");
    }

    #[test]
    fn it_stops_when_it_is_too_large() {
        let cx = StartContext { outputs_bytes_max: 20, ..StartContext::for_tests() };
        let items = vec![json!({"a": "0123456789"}); 5];
        let failure = CsvTable.start(&json!({ "from": items }), &cx).expect_err("too large");
        assert_eq!(failure.code, "outputs_too_large");
    }
}
