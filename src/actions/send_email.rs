//! The `send_email` action: one mail whose recipients the flow decides, never the lead by accident.

mod plain_text;
mod recipients;

use base64::Engine as _;
use serde_json::Value;

use super::input::{self, Text};
use super::{Action, Next, StartContext};
use crate::connectors::{self, Operation, declared};
use crate::flow::catalogue::{ActionSpec, OperationKind};
use crate::outbound::Attachment;
use crate::run::Failure;
use crate::template::Tree;
use recipients::Addresses;

/// The longest subject, in characters: longer ones are cut. Mail readers show far less.
pub const SUBJECT_CHARS_MAX: usize = 500;

/// The most recipients of one mail, copies included. Servers refuse more anyway (RFC 5321 asks for 100).
pub const RECIPIENTS_MAX: usize = 100;

/// The `send_email` action.
#[derive(Debug, Clone, Copy)]
pub struct SendEmail;

/// What `send_email` is told.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The connection that sends it: a name under `connections:` in leadflow.yaml.
    #[expect(dead_code, reason = "declared here, resolved by the compiler")]
    #[schemars(extend("x-fixed" = true))]
    connection: Option<String>,
    /// Recipients: a list, or text with `,` or `;`.
    #[schemars(required, extend("x-template" = "plain"))]
    to: Option<Addresses>,
    /// Copies.
    #[serde(default)]
    #[schemars(extend("x-template" = "plain"))]
    cc: Addresses,
    /// Blind copies.
    #[serde(default)]
    #[schemars(extend("x-template" = "plain"))]
    bcc: Addresses,
    /// Where answers go.
    #[serde(default)]
    #[schemars(extend("x-template" = "plain"))]
    reply_to: Addresses,
    /// The sender; default: the connection's.
    #[schemars(extend("x-template" = "plain"))]
    from: Option<Text>,
    /// The subject: one line.
    #[schemars(required, extend("x-template" = "plain"))]
    subject: Option<Text>,
    /// The text. Values are not escaped.
    #[schemars(extend("x-template" = "plain"))]
    body: Option<Text>,
    /// The HTML. Values are escaped. Without `body`, the text part is derived from it.
    #[schemars(extend("x-template" = "html"))]
    html: Option<Text>,
    /// How urgent mail readers show it.
    importance: Option<Importance>,
    /// Files that go with it.
    attachments: Option<Vec<AttachmentKeys>>,
    /// Must be true when an address uses the lead (`trigger`, `item`, another action's outputs). Then every text is
    /// exactly one address: several stand in a list.
    #[serde(default)]
    to_from_lead: bool,
}

/// How urgent a mail is.
#[derive(Debug, Clone, Copy, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Importance {
    Low,
    Normal,
    High,
}

/// One attachment.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct AttachmentKeys {
    /// The file's name.
    #[schemars(required, extend("x-template" = "plain"))]
    name: Option<Text>,
    /// The content: text, or a list or object that is written as JSON. `{$content: BASE64}` gives bytes.
    #[schemars(required, extend("x-template" = "plain"))]
    content: Option<Value>,
    /// The MIME type. Default: `text/plain; charset=utf-8`, for JSON `application/json`, for bytes
    /// `application/octet-stream`.
    #[schemars(extend("x-template" = "plain"))]
    content_type: Option<Text>,
}

impl Action for SendEmail {
    fn spec(&self) -> ActionSpec {
        ActionSpec {
            kind: "send_email",
            summary: "sends a mail",
            keys: declared::<Keys>(),
            outputs: &[("message_id", "the mail's Message-ID: the same for every repeat")],
            example: "name: notify_sales\ntype: send_email\nconnection: mail\nto: sales@contoso.com\nsubject: \"New lead: {{trigger.body.OfferTitle}}\"\nbody: |\n  {{trigger.body.UserDetails.FirstName}} {{trigger.body.UserDetails.LastName}}\n",
            operation: Some(OperationKind::Email),
            connection_required: true,
            blank_guard: None,
            leaves_the_machine: true,
            responds: false,
            check: Some(recipients::check),
        }
    }

    fn check_shape(&self, written: &Tree, inputs: &Value) -> Result<(), Failure> {
        if inputs.get("to_from_lead") != Some(&Value::Bool(true)) {
            return Ok(());
        }
        recipients::FIELDS.iter().try_for_each(|field| recipients::check_shape(field, written, inputs))
    }

    fn start(&self, inputs: &Value, _: &StartContext) -> Result<Next, Failure> {
        let keys: Keys = input::read(inputs)?;
        let whole = keys.to_from_lead;
        let addresses = |field: &str, addresses: &Addresses| addresses.parse(field, whole);
        let (to, cc) = (addresses("to", &keys.to.unwrap_or_default())?, addresses("cc", &keys.cc)?);
        let (bcc, reply_to) = (addresses("bcc", &keys.bcc)?, addresses("reply_to", &keys.reply_to)?);
        match to.len() + cc.len() + bcc.len() {
            0 => return Err(Failure::terminal("no_recipient", "`to`, `cc` and `bcc` are all empty")),
            count if count > RECIPIENTS_MAX => {
                let message = format!("the mail has {count} recipients, more than {RECIPIENTS_MAX}");
                return Err(Failure::terminal("too_many_recipients", message));
            }
            _ => {}
        }
        let html = keys.html.map(|text| text.0);
        let text = keys.body.map(|text| text.0).or_else(|| html.as_deref().map(plain_text::from_html));
        Ok(Next::Effect(Box::new(Operation::SendEmail(connectors::SendEmail {
            from: recipients::sender(keys.from.as_ref())?,
            to,
            cc,
            bcc,
            reply_to,
            subject: subject(keys.subject.as_ref()),
            text: Some(text.unwrap_or_default()),
            html,
            importance: keys.importance.map(|importance| importance.as_str().to_owned()),
            attachments: keys
                .attachments
                .unwrap_or_default()
                .into_iter()
                .enumerate()
                .map(|(n, keys)| attachment(n, keys))
                .collect::<Result<_, _>>()?,
        }))))
    }
}

impl Importance {
    fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

fn subject(text: Option<&Text>) -> String {
    let line = input::one_line(text.map_or("", |text| &text.0));
    match line.char_indices().nth(SUBJECT_CHARS_MAX - 1) {
        Some((end, _)) if line[end..].chars().count() > 1 => format!("{}…", line[..end].trim_end()),
        _ => line,
    }
}

fn attachment(n: usize, keys: AttachmentKeys) -> Result<Attachment, Failure> {
    let name = input::one_line(&keys.name.unwrap_or_default().0);
    if name.is_empty() {
        return Err(Failure::terminal("bad_attachment", format!("attachment {} has no name", n + 1)));
    }
    let (content, default_type) = content(n, keys.content.unwrap_or_default())?;
    let content_type = keys.content_type.map(|text| input::one_line(&text.0)).filter(|text| !text.is_empty());
    Ok(Attachment { name, content, content_type: content_type.unwrap_or_else(|| default_type.into()) })
}

/// An attachment's bytes, and the type they have when none is given.
fn content(n: usize, value: Value) -> Result<(Vec<u8>, &'static str), Failure> {
    if let Value::Object(entries) = &value
        && let Some(Value::String(encoded)) = entries.get("$content")
    {
        let packed: String = encoded.chars().filter(|character| !character.is_ascii_whitespace()).collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(packed).map_err(|_| {
            Failure::terminal("bad_attachment", format!("`$content` of attachment {} is not base64", n + 1))
        })?;
        return Ok((bytes, "application/octet-stream"));
    }
    Ok(match value {
        Value::Null => (Vec::new(), "text/plain; charset=utf-8"),
        Value::String(text) => (text.into_bytes(), "text/plain; charset=utf-8"),
        other => (other.to_string().into_bytes(), "application/json"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn start(inputs: &Value) -> Result<connectors::SendEmail, Failure> {
        match SendEmail.start(inputs, &StartContext::for_tests())? {
            Next::Effect(operation) => match *operation {
                Operation::SendEmail(mail) => Ok(mail),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_mail_is_built_from_rendered_keys() {
        let mail = start(&json!({"to": "a@b.example; B <b@b.example>", "subject": "x\r\nBcc: v@x.example",
            "html": "<p>Hi <b>there</b></p>", "importance": "high"}))
        .expect("starts");
        assert_eq!(mail.to, ["a@b.example", "B <b@b.example>"]);
        assert_eq!(mail.subject, "x Bcc: v@x.example");
        assert_eq!(mail.text.as_deref(), Some("Hi there"));
        assert_eq!(mail.importance.as_deref(), Some("high"));
    }

    #[test]
    fn long_subjects_are_cut_by_characters() {
        let long = "名".repeat(SUBJECT_CHARS_MAX + 1);
        let cut = subject(Some(&Text(long)));
        assert_eq!(cut.chars().count(), SUBJECT_CHARS_MAX);
        assert!(cut.ends_with('…'));
        let fits = "x".repeat(SUBJECT_CHARS_MAX);
        assert_eq!(subject(Some(&Text(fits.clone()))), fits);
    }

    #[test]
    fn a_mail_without_recipient_or_with_a_bad_one_fails() {
        assert_eq!(start(&json!({"to": null, "subject": "x"})).expect_err("none").code, "no_recipient");
        assert_eq!(start(&json!({"to": " ; ", "subject": "x"})).expect_err("none").code, "no_recipient");
        let failure = start(&json!({"to": "not-an-address", "subject": "x"})).expect_err("bad");
        assert_eq!(failure.code, "bad_address");
        assert!(!failure.message.contains("not-an-address"));
        let many = vec!["a@b.example"; RECIPIENTS_MAX + 1];
        assert_eq!(start(&json!({"to": many, "subject": "x"})).expect_err("many").code, "too_many_recipients");
    }

    #[test]
    fn attachments_are_text_json_or_bytes() {
        let mail = start(&json!({"to": "a@b.example", "subject": "x", "attachments": [
            {"name": "a.txt", "content": "hi"}, {"name": "b\n.json", "content": {"a": 1}},
            {"name": "c.bin", "content": {"$content": "AAE="}, "content_type": "image/png"}]}))
        .expect("starts");
        let seen: Vec<_> = mail
            .attachments
            .iter()
            .map(|file| (file.name.as_str(), &file.content[..], file.content_type.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("a.txt", &b"hi"[..], "text/plain; charset=utf-8"),
                ("b .json", br#"{"a":1}"#, "application/json"),
                ("c.bin", &[0, 1], "image/png"),
            ]
        );
        let bad =
            json!({"to": "a@b.example", "subject": "x", "attachments": [{"name": "c", "content": {"$content": "?"}}]});
        assert_eq!(start(&bad).expect_err("no base64").code, "bad_attachment");
    }
}
