//! Who gets a mail. What a lead carries never becomes a recipient unless the flow says `to_from_lead: true`, and even
//! then one value never becomes two.
//!
//! Two modes. Without `to_from_lead`, [`check`] refuses every address that reads the lead; what is left was written by
//! the flow's author and may be split at `,` and `;`. With it, nothing is ever split: every text is one address,
//! several stand in a list, and [`check_shape`] makes sure that the list is the author's.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::input::{self, Text};
use crate::flow::catalogue::OwnFinding;
use crate::outbound::mail;
use crate::run::Failure;
use crate::template::{Destination, Template, Tree, is_template, kind_of};

/// The keys that hold addresses.
pub(super) const FIELDS: &[&str] = &["to", "cc", "bcc", "reply_to", "from"];

/// Roots that only the flow's author and the settings fill. Everything else may carry a lead's values.
const INSIDE_ROOTS: &[&str] = &["parameters", "flow", "environment", "run"];

/// Rendered addresses: the texts of one key, not yet split.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses(Vec<String>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = match Value::deserialize(deserializer)? {
            Value::Array(items) => items,
            other => vec![other],
        };
        let texts = items.iter().map(input::scalar).filter_map(Result::transpose).collect::<Result<_, _>>();
        texts.map(Self).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Addresses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Addresses".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

impl Addresses {
    /// The addresses in the form that mail takes. The failure names the key and the place, never the address.
    pub(super) fn parse(&self, field: &str, whole: bool) -> Result<Vec<String>, Failure> {
        let parts = self.0.iter().flat_map(|text| if whole { vec![text.as_str()] } else { split(text) });
        let parts = parts.map(str::trim).filter(|part| !part.is_empty());
        parts
            .enumerate()
            .map(|(n, part)| {
                mail::address(&input::one_line(part)).ok_or_else(|| {
                    let one = if whole {
                        "; with `to_from_lead` every text is one address, several stand in a list"
                    } else {
                        ""
                    };
                    Failure::terminal(
                        "bad_address",
                        format!("address {} of `{field}` is not a mail address{one}", n + 1),
                    )
                })
            })
            .collect()
    }
}

/// The sender: one address, never a list.
pub(super) fn sender(from: Option<&Text>) -> Result<Option<String>, Failure> {
    let Some(text) = from.map(|text| input::one_line(&text.0)).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let address = mail::address(&text);
    address.map(Some).ok_or_else(|| Failure::terminal("bad_address", "`from` is not one mail address"))
}

/// Splits at `,` and `;` outside of quoted names: `"Doe, Jane" <j@d.example>` is one address.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' | ';' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// One template gives one address: a value that turned out to be a list does not become several recipients.
pub(super) fn check_shape(field: &str, written: &Tree, inputs: &Value) -> Result<(), Failure> {
    let (Some(tree), Some(value)) = (written.get(field), inputs.get(field)) else { return Ok(()) };
    let one = match (tree, value) {
        (Tree::List(trees), Value::Array(values)) => {
            trees.len() == values.len() && values.iter().all(|value| !value.is_array() && !value.is_object())
        }
        (_, value) => !value.is_array() && !value.is_object(),
    };
    if one {
        return Ok(());
    }
    let message =
        format!("a template of `{field}` gave {}; with `to_from_lead` each gives one address", kind_of(value));
    Err(Failure::terminal("bad_address", message))
}

/// What can be told before the first lead: addresses that read it without leave, and text that would need splitting.
pub(super) fn check(raw: &Value) -> Vec<OwnFinding> {
    let allowed = raw.get("to_from_lead") == Some(&Value::Bool(true));
    let mut findings = Vec::new();
    for field in FIELDS {
        let texts: Vec<(String, &str)> = match raw.get(field) {
            Some(Value::String(text)) => vec![(format!("/{field}"), text)],
            Some(Value::Array(items)) => {
                let texts = items.iter().enumerate();
                texts.filter_map(|(n, item)| Some((format!("/{field}/{n}"), item.as_str()?))).collect()
            }
            _ => Vec::new(),
        };
        findings.extend(texts.into_iter().filter_map(|(pointer, text)| finding(field, pointer, text, allowed)));
    }
    findings
}

fn finding(field: &str, pointer: String, text: &str, allowed: bool) -> Option<OwnFinding> {
    let (message, help) = if !allowed && reads_outside(text) {
        (
            format!("`{field}` takes an address from the lead"),
            "add `to_from_lead: true` if whoever sends a lead may choose who gets this mail, else write a parameter",
        )
    } else if allowed && *field != *"from" && split(&without_templates(text)).len() > 1 {
        (
            format!("`{field}` holds several addresses in one text; with `to_from_lead` each text is one address"),
            "write a list with one address an item",
        )
    } else {
        return bad_constant(field, pointer, text, allowed);
    };
    Some(OwnFinding { pointer, code: "recipient_from_lead", message, help: Some(help.into()) })
}

/// A text without any template that is no address: it would fail every run.
fn bad_constant(field: &str, pointer: String, text: &str, allowed: bool) -> Option<OwnFinding> {
    if is_template(text) {
        return None;
    }
    let whole = allowed || field == "from";
    Addresses(vec![text.to_owned()]).parse(field, whole).err().map(|failure| OwnFinding {
        pointer,
        code: "bad_address",
        message: failure.message,
        help: Some("write sales@contoso.com or Sales <sales@contoso.com>".into()),
    })
}

/// The text with each template replaced by a word: enough to see whether the author wrote several addresses.
fn without_templates(text: &str) -> String {
    let (mut literal, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("{{") {
        literal.push_str(before);
        literal.push('x');
        rest = behind.split_once("}}").map_or("", |(_, after)| after);
    }
    literal + rest
}

/// Whether a template in `text` may read anything that a lead can fill. A template that does not compile has findings
/// of its own.
fn reads_outside(text: &str) -> bool {
    let is_inside = |root: &str| INSIDE_ROOTS.iter().any(|inside| inside.eq_ignore_ascii_case(root));
    is_template(text)
        && Template::compile(text, Destination::Plain)
            .is_ok_and(|template| template.paths().iter().any(|path| !is_inside(&path.root)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value, whole: bool) -> Result<Vec<String>, String> {
        let addresses: Addresses = serde_json::from_value(value).expect("addresses");
        addresses.parse("to", whole).map_err(|failure| failure.code)
    }

    fn codes(raw: &Value) -> Vec<(String, &'static str)> {
        check(raw).into_iter().map(|finding| (finding.pointer, finding.code)).collect()
    }

    #[test]
    fn the_authors_text_is_split_outside_quotes() {
        let list = parse(json!("a@b.example, \"Doe, Jane\" <j@d.example>;; c@d.example"), false).expect("addresses");
        assert_eq!(list.len(), 3);
        assert!(list[1].ends_with("<j@d.example>"), "{}", list[1]);
    }

    #[test]
    fn with_to_from_lead_a_value_is_one_address_or_none() {
        assert_eq!(parse(json!("a@b.example"), true), Ok(vec!["a@b.example".into()]));
        for evil in [
            "a@b.example,v@x.example",
            "a@b.example;v@x.example",
            "a@b.example v@x.example",
            "a@b.example\r\nBcc: v@x.example",
            "<a@b.example>, <v@x.example>",
            "A <a@b.example>, v@x.example",
        ] {
            assert_eq!(parse(json!(evil), true), Err("bad_address".into()), "{evil}");
            assert_eq!(parse(json!([evil, "c@d.example"]), true), Err("bad_address".into()), "{evil}");
        }
    }

    #[test]
    fn a_template_that_gave_a_list_is_refused() {
        let text = Tree::Object(vec![("to".into(), Tree::Constant(json!("written as text")))]);
        let list = Tree::Object(vec![("to".into(), Tree::List(vec![Tree::Constant(json!("one item"))]))]);
        let ok = |tree: &Tree, inputs: Value| check_shape("to", tree, &inputs).is_ok();
        assert!(ok(&text, json!({"to": "a@b.example"})) && ok(&list, json!({"to": ["a@b.example"]})));
        assert!(ok(&text, json!({"to": null})) && ok(&text, json!({})));
        assert!(!ok(&text, json!({"to": ["a@b.example", "v@x.example"]})));
        assert!(!ok(&list, json!({"to": [["a@b.example", "v@x.example"]]})));
    }

    #[test]
    fn constants_are_checked_before_the_first_lead() {
        assert_eq!(codes(&json!({"to": "sales@contoso.com; Jane <j@contoso.com>"})), []);
        assert_eq!(codes(&json!({"to": ["ok@contoso.com", "sales"]})), [("/to/1".into(), "bad_address")]);
        assert_eq!(codes(&json!({"from": "a@b.example, c@d.example"})), [("/from".into(), "bad_address")]);
        let split = json!({"to": "a@b.example, c@d.example", "to_from_lead": true});
        assert_eq!(codes(&split), [("/to".into(), "recipient_from_lead")]);
    }

    #[test]
    fn an_address_that_reads_the_lead_needs_leave() {
        for text in [
            "{{trigger.body.Email}}",
            "x@{{ TRIGGER.headers.host }}",
            "{{actions.a.outputs.b}}",
            "{{item.Email}}",
            "{{default parameters.x trigger.body.Email}}",
            "{{variables.to}}",
        ] {
            assert_eq!(codes(&json!({ "cc": text })), [("/cc".into(), "recipient_from_lead")], "{text}");
            assert_eq!(codes(&json!({ "cc": [text], "to_from_lead": true })), [], "{text}");
        }
        for text in
            ["{{parameters.trigger}}", "{{default parameters.x 'sales@contoso.com'}}", "{{flow.name}}@contoso.com"]
        {
            assert_eq!(codes(&json!({ "to": text })), [], "{text}");
        }
    }
}
