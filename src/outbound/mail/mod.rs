//! Mail: messages built injection-safe, sent by SMTP with a deadline round the whole send.
//!
//! Promises: the same [`EmailMessage`] gives the same bytes, boundaries included; no value of it can start a header or
//! become a second recipient; blind copies are in the envelope only.

mod address;
mod smtp;

use std::time::{Duration, UNIX_EPOCH};

pub use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, Message, MultiPart, SinglePart};

use super::EmailMessage;
use crate::run::Failure;
pub use address::{address, name_and_address};
pub use smtp::{Login, Security, SmtpTransport};

/// The sender of mails in the outbox that name none.
pub const OUTBOX_SENDER: &str = "leadflow@localhost";

/// The envelope and the raw message (CRLF line ends) of `message`; `default_from` (empty: there is none) sends when it
/// names nobody.
pub fn build(message: &EmailMessage, default_from: &str) -> Result<(Envelope, Vec<u8>), Failure> {
    let from = message.from.as_deref().unwrap_or(default_from);
    if from.is_empty() {
        return Err(Failure::terminal("no_sender", "the mail names no sender: write `from` in the connection"));
    }
    let from = mailbox(from)?;
    let mut builder = Message::builder()
        .date(UNIX_EPOCH + Duration::from_micros(u64::try_from(message.date).unwrap_or(0)))
        .message_id(Some(format!("<{}>", message.message_id)))
        .from(from);
    for reply_to in &message.reply_to {
        builder = builder.reply_to(mailbox(reply_to)?);
    }
    for to in &message.to {
        builder = builder.to(mailbox(to)?);
    }
    for cc in &message.cc {
        builder = builder.cc(mailbox(cc)?);
    }
    for bcc in &message.bcc {
        builder = builder.bcc(mailbox(bcc)?);
    }
    builder = builder.subject(message.subject.as_str());
    for &(name, value) in importance(message.importance.as_deref()) {
        builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned()));
    }
    let parts = parts(message)?;
    let built = match parts {
        Part::Single(part) => builder.singlepart(part),
        Part::Multi(parts) => builder.multipart(parts),
    };
    let built = built.map_err(|_| Failure::terminal("no_recipient", "the mail has no recipient"))?;
    Ok((built.envelope().clone(), built.formatted()))
}

enum Part {
    Single(SinglePart),
    Multi(MultiPart),
}

fn parts(message: &EmailMessage) -> Result<Part, Failure> {
    let body = match (&message.text, &message.html) {
        (Some(text), Some(html)) => Part::Multi(
            MultiPart::alternative()
                .boundary(boundary(message, "alternative"))
                .singlepart(SinglePart::plain(text.clone()))
                .singlepart(SinglePart::html(html.clone())),
        ),
        (None, Some(html)) => Part::Single(SinglePart::html(html.clone())),
        (text, None) => Part::Single(SinglePart::plain(text.clone().unwrap_or_default())),
    };
    if message.attachments.is_empty() {
        return Ok(body);
    }
    let mixed = MultiPart::mixed().boundary(boundary(message, "mixed"));
    let mut mixed = match body {
        Part::Single(part) => mixed.singlepart(part),
        Part::Multi(parts) => mixed.multipart(parts),
    };
    for (n, file) in message.attachments.iter().enumerate() {
        let kind = ContentType::parse(&file.content_type).map_err(|_| {
            Failure::terminal("bad_attachment", format!("`content_type` of attachment {} is not a MIME type", n + 1))
        })?;
        mixed = mixed.singlepart(Attachment::new(file.name.clone()).body(file.content.clone(), kind));
    }
    Ok(Part::Multi(mixed))
}

/// A boundary that is the same for every try, and that no lead can guess: the Message-ID is a hash.
fn boundary(message: &EmailMessage, part: &str) -> String {
    let id: String = message.message_id.chars().take_while(char::is_ascii_alphanumeric).take(40).collect();
    format!("leadflow-{id}-{part}")
}

fn importance(importance: Option<&str>) -> &'static [(&'static str, &'static str)] {
    match importance {
        Some("high") => &[("Importance", "high"), ("X-Priority", "1")],
        Some("low") => &[("Importance", "low"), ("X-Priority", "5")],
        Some("normal") => &[("Importance", "normal"), ("X-Priority", "3")],
        _ => &[],
    }
}

fn mailbox(text: &str) -> Result<Mailbox, Failure> {
    address::mailbox(text).ok_or_else(|| Failure::terminal("bad_address", "an address of the mail is not valid"))
}

#[cfg(test)]
mod tests;

/// A small mail, for tests.
#[cfg(test)]
pub(super) fn message_for_tests(message_id: &str) -> EmailMessage {
    EmailMessage {
        from: None,
        to: vec!["to@contoso.example".into()],
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: Vec::new(),
        subject: "New lead".into(),
        text: Some("Hello".into()),
        html: None,
        importance: None,
        attachments: Vec::new(),
        message_id: message_id.into(),
        date: 1_700_000_000_000_000,
    }
}
