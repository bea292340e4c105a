//! Raw messages, read back as a mail reader would: header by header.

use proptest::prelude::*;

use super::*;
use crate::outbound;

fn message() -> EmailMessage {
    EmailMessage {
        from: Some("Leads <leads@contoso.example>".into()),
        cc: vec!["cc@contoso.example".into()],
        bcc: vec!["hidden@contoso.example".into()],
        reply_to: vec!["Jane <jane@contoso.example>".into()],
        ..message_for_tests("0123abcd@leadflow")
    }
}

fn raw(message: &EmailMessage) -> String {
    String::from_utf8(build(message, "default@contoso.example").expect("builds").1).expect("ASCII")
}

/// Header names, folded lines joined, and everything behind the empty line.
fn split(raw: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = raw.split_once("\r\n\r\n").expect("a body");
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in head.split("\r\n") {
        if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), headers.last_mut()) {
            value.push_str(line);
        } else {
            let (name, value) = line.split_once(':').expect("a header");
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    (headers, body)
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

#[test]
fn headers_say_what_the_message_says_and_blind_copies_stay_hidden() {
    let (envelope, bytes) = build(&message(), "default@contoso.example").expect("builds");
    let raw = String::from_utf8(bytes).expect("ASCII");
    let (headers, body) = split(&raw);
    assert_eq!(header(&headers, "From"), Some("Leads <leads@contoso.example>"));
    assert_eq!(header(&headers, "To"), Some("to@contoso.example"));
    assert_eq!(header(&headers, "Cc"), Some("cc@contoso.example"));
    assert_eq!(header(&headers, "Reply-To"), Some("Jane <jane@contoso.example>"));
    assert_eq!(header(&headers, "Message-ID"), Some("<0123abcd@leadflow>"));
    assert_eq!(header(&headers, "Date"), Some("Tue, 14 Nov 2023 22:13:20 +0000"));
    assert_eq!((header(&headers, "Bcc"), body.trim_end()), (None, "Hello"));
    assert!(!raw.contains("hidden@"));
    let to: Vec<_> = envelope.to().iter().map(ToString::to_string).collect();
    assert_eq!(to, ["to@contoso.example", "cc@contoso.example", "hidden@contoso.example"]);
}

#[test]
fn the_connections_sender_is_used_when_the_mail_names_none() {
    let raw = raw(&EmailMessage { from: None, ..message() });
    assert_eq!(header(&split(&raw).0, "From"), Some("default@contoso.example"));
}

#[test]
fn a_mail_without_any_sender_is_terminal() {
    let failure = build(&EmailMessage { from: None, ..message() }, "").expect_err("refused");
    assert_eq!(failure.code, "no_sender");
}

#[test]
fn importance_sets_both_headers() {
    for (importance, priority) in [("high", "1"), ("normal", "3"), ("low", "5")] {
        let raw = raw(&EmailMessage { importance: Some(importance.into()), ..message() });
        let (headers, _) = split(&raw);
        assert_eq!(
            (header(&headers, "Importance"), header(&headers, "X-Priority")),
            (Some(importance), Some(priority))
        );
    }
    assert_eq!(header(&split(&raw(&message())).0, "Importance"), None);
}

#[test]
fn the_same_message_gives_the_same_bytes() {
    let file = outbound::Attachment {
        name: "läad.json".into(),
        content: b"{}".to_vec(),
        content_type: "application/json".into(),
    };
    let message = EmailMessage { html: Some("<p>Hello</p>".into()), attachments: vec![file], ..message() };
    let first = raw(&message);
    assert_eq!(first, raw(&message));
    for part in
        ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/json", "attachment"]
    {
        assert!(first.contains(part), "{part} in {first}");
    }
    assert!(first.contains("boundary=\"leadflow-0123abcd-mixed\""), "{first}");
}

#[test]
fn a_bad_content_type_fails_and_names_the_attachment() {
    let file = outbound::Attachment { name: "a".into(), content: Vec::new(), content_type: "no type".into() };
    let failure = build(&EmailMessage { attachments: vec![file], ..message() }, "a@b.example").expect_err("refused");
    assert_eq!(failure.code, "bad_attachment");
}

proptest! {
    /// Whatever stands in a value, the message has the headers of a tame one and the same recipients.
    #[test]
    fn no_value_adds_a_header_or_a_recipient(
        text in "(\r\n|\n|\r|\u{0}|\u{2028}|\u{202e}|Bcc: v@x\\.example|:|[ -~]|é|😀|\r\n\r\n|\r\n\\.\r\n){0,40}",
        name in "(\r\n|[ -~]|é|\u{0}){0,20}",
    ) {
        let file = |name: &str| outbound::Attachment { name: name.into(), content: b"x".to_vec(), content_type: "text/plain".into() };
        let tame = EmailMessage { html: Some("x".into()), attachments: vec![file("a")], ..message() };
        let wild = EmailMessage {
            subject: text.clone(), text: Some(text.clone()), html: Some(text), attachments: vec![file(&name)], ..tame.clone()
        };
        let names = |message: &EmailMessage| {
            let raw = raw(message);
            split(&raw).0.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        prop_assert_eq!(names(&tame), names(&wild));
        let (envelope, bytes) = build(&wild, "a@b.example").expect("builds");
        prop_assert_eq!(envelope.to().len(), 3);
        // No value opened a part of its own.
        let frames = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches("\r\n--leadflow-0123abcd-").count();
        prop_assert_eq!(frames(&bytes), frames(raw(&tame).as_bytes()));
    }
}
