//! The `html_table` action: a list as an HTML table.
//!
//! Promise: every header and every cell is escaped, so that its output is HTML whatever a lead carries; that is why
//! `html` takes it as it is.

use std::borrow::Cow;

use serde_json::Value;

use super::tables::{self, Keys, Table};
use super::{Action, Next, StartContext};
use crate::flow::catalogue::ActionSpec;
use crate::flow::declared::declared;
use crate::run::Failure;
use crate::template::{escape_html, text_or_json};

/// The `html_table` action.
#[derive(Debug, Clone, Copy)]
pub struct HtmlTable;

impl Action for HtmlTable {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: crate::flow::HTML_TABLE,
            summary: "writes a list as an HTML table, escaped",
            keys: declared::<Keys>(),
            outputs: &[("(itself)", "the text: `html` of a mail takes it as it is")],
            example: "name: contacts_table\ntype: html_table\nfrom: \"{{trigger.body.Contacts}}\"\ncolumns:\n  - Email\n  - header: Full name\n    value: \"{{item.FirstName}} {{item.LastName}}\"\n",
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
        let mut text = String::from("<table><thead>");
        row(&mut text, "th", table.headers().map(Cow::Borrowed));
        text.push_str("</thead><tbody>");
        for number in 0..table.rows() {
            row(&mut text, "td", table.row(number).map(text_or_json));
            tables::bounded(&text, cx)?;
        }
        text.push_str("</tbody></table>");
        Ok(Next::Done(Value::String(text)))
    }
}

fn row<'a>(text: &mut String, tag: &str, cells: impl Iterator<Item = Cow<'a, str>>) {
    text.push_str("<tr>");
    for cell in cells {
        text.extend(["<", tag, ">", &escape_html(&cell), "</", tag, ">"]);
    }
    text.push_str("</tr>");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_escaped() {
        let inputs = json!({"from": [{"<b>": "<script>alert('x')</script>", "n": 1}, {"n": {"a": "\"&\""}}]});
        let next = HtmlTable.start(&inputs, &StartContext::for_tests());
        let want = "<table><thead><tr><th>&lt;b&gt;</th><th>n</th></tr></thead><tbody>\
                    <tr><td>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</td><td>1</td></tr>\
                    <tr><td></td><td>{&quot;a&quot;:&quot;\\&quot;&amp;\\&quot;&quot;}</td></tr></tbody></table>";
        assert_eq!(next, Ok(Next::Done(json!(want))));
    }
}
