//! Mail against real servers of two makes: encryption, login, refusals, and a repeat that is the same mail.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use leadflow::connectors::smtp::Smtp;
use leadflow::connectors::{Dialect as _, OpContext, Operation, Progress, Reach, Registry, SendEmail, Talk};
use leadflow::ids::{IdempotencyKey, RunId};
use leadflow::outbound::http::{HttpClientSettings, HttpTransport};
use leadflow::outbound::{Attachment, Call, Effect, Effects, HttpRequest, Real, Reply, Transport};
use leadflow::run::Class;
use serde_json::{Value, json};

use crate::support::sink::Sink;

/// Long enough to never matter on a busy machine, far shorter than the sink's `slow`.
const LONG: Duration = Duration::from_secs(20);

/// A connection of leadflow.yaml to `sink`.
fn connect(sink: &Sink, security: &str, password: &str, trusted: bool) -> Transport {
    let mut reach = Reach::new("unused");
    if trusted {
        reach.ca = vec![fs::read(sink.certificate()).expect("the certificate")];
    }
    let settings = json!({
        "host": "localhost", "port": sink.port, "security": security, "from": "Leads <leads@contoso.example>",
        "auth": {"type": "basic", "username": "lead", "password": password},
    });
    open(&settings, &reach)
}

fn open(settings: &Value, reach: &Reach) -> Transport {
    let connector = Registry::builtin().find("smtp").expect("the connector");
    connector.open(settings, reach).expect("settings").transport
}

fn mail(to: &[&str]) -> SendEmail {
    SendEmail {
        from: None,
        to: to.iter().map(|&to| to.to_owned()).collect(),
        cc: vec!["cc@contoso.example".into()],
        bcc: vec!["hidden@contoso.example".into()],
        reply_to: vec!["Jane Doe <jane@contoso.example>".into()],
        subject: "Neuer Lead: Söhne\r\nBcc: evil@x.example".into(),
        text: Some("Hello\n.\nfrom a line with one dot".into()),
        html: Some("<p>Hello</p>".into()),
        importance: Some("high".into()),
        attachments: vec![Attachment {
            name: "lead.json".into(),
            content: b"{}".to_vec(),
            content_type: "application/json".into(),
        }],
    }
}

/// One try of one operation, as the engine makes it.
async fn send(transport: &Transport, mail: SendEmail, timeout: Duration) -> Result<Value, leadflow::run::Failure> {
    let run_id = RunId::from_bytes([7; 16]);
    let key = IdempotencyKey::new(run_id, "notify", "", 0);
    let cx = OpContext { connection: "mail", run_id, key, received_at: 1_700_000_000_000_000, possible_repeat: false };
    let operation = Operation::SendEmail(mail);
    let effect = Smtp.start(&operation, &cx)?;
    let simulated = Reply::Record;
    let call = Call {
        action: "notify",
        secure: false,
        idx: "",
        connection: "mail",
        transport,
        effect: &effect,
        timeout,
        simulated,
    };
    let reply = Real.perform(call).await;
    let mut talk = Talk { n: 0, key, notes: Value::Null };
    match Smtp.on_reply(&operation, &cx, &mut talk, reply) {
        Progress::Done(result) => result.map(|outcome| outcome.outputs),
        Progress::Send(effect) => panic!("one effect is enough: {effect:?}"),
    }
}

fn header<'a>(mail: &'a str, name: &str) -> Vec<&'a str> {
    let (head, _) = mail.split_once("\r\n\r\n").expect("a body");
    head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

#[tokio::test]
async fn a_mail_arrives_whole_over_starttls_and_a_repeat_is_the_same_mail() {
    for start in Sink::MAKES {
        let sink = start("starttls");
        let transport = connect(&sink, "starttls", "secret", true);
        let outputs = send(&transport, mail(&["to@contoso.example"]), LONG).await.expect("sent");
        assert_eq!(Ok(&outputs), send(&transport, mail(&["to@contoso.example"]), LONG).await.as_ref());
        let mails = sink.mails();
        assert_eq!(mails.len(), 2);
        assert_eq!(mails[0], mails[1]);
        let mail = &mails[0];
        assert_eq!(header(mail, "X-Envelope-Tls"), ["True"]);
        assert_eq!(header(mail, "X-Envelope-Auth"), ["lead"]);
        assert_eq!(header(mail, "X-Envelope-From"), ["leads@contoso.example"]);
        assert_eq!(header(mail, "X-Envelope-To"), ["to@contoso.example,cc@contoso.example,hidden@contoso.example"]);
        assert_eq!(header(mail, "Message-ID"), [outputs["message_id"].as_str().expect("a text")]);
        assert_eq!(header(mail, "From"), ["Leads <leads@contoso.example>"]);
        assert_eq!(header(mail, "Reply-To"), [r#""Jane Doe" <jane@contoso.example>"#]);
        assert_eq!(header(mail, "Importance"), ["high"]);
        assert_eq!((header(mail, "Bcc").len(), header(mail, "Subject").len()), (0, 1));
        for part in ["Hello\r\n.\r\nfrom a line", "<p>Hello</p>", "filename=\"lead.json\""] {
            assert!(mail.contains(part), "{part} in {mail}");
        }
    }
}

#[tokio::test]
async fn a_mail_arrives_over_implicit_tls() {
    for start in Sink::MAKES {
        let sink = start("tls");
        send(&connect(&sink, "tls", "secret", true), mail(&["to@contoso.example"]), LONG).await.expect("sent");
        assert_eq!(sink.mails().len(), 1);
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_is_not_trusted_or_not_encrypted() {
    for start in Sink::MAKES {
        let (starttls, tls, plain) = (start("starttls"), start("tls"), start("plain"));
        for (sink, security, trusted, code) in [
            (&starttls, "starttls", false, "tls_certificate"),
            (&tls, "tls", false, "tls_certificate"),
            (&plain, "starttls", true, "smtp_tls"),
            (&starttls, "tls", true, "smtp_tls"),
        ] {
            let sent = send(&connect(sink, security, "secret", trusted), mail(&["to@contoso.example"]), LONG).await;
            let failure = sent.expect_err("refused");
            assert_eq!(
                (failure.code.as_str(), failure.class),
                (code, Class::Terminal),
                "{security}: {}",
                failure.message
            );
            assert!(sink.mails().is_empty());
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_of_the_credentials_and_not_repeated_in_the_message() {
    for start in Sink::MAKES {
        let sink = start("starttls");
        let sent = send(&connect(&sink, "starttls", "hunter2", true), mail(&["to@contoso.example"]), LONG).await;
        let failure = sent.expect_err("refused");
        assert_eq!((failure.code.as_str(), failure.class), ("smtp_535", Class::Credentials));
        assert!(!failure.message.contains("hunter2"));
    }
}

#[tokio::test]
async fn one_refused_recipient_stops_the_mail_for_all() {
    for start in Sink::MAKES {
        let sink = start("starttls");
        let transport = connect(&sink, "starttls", "secret", true);
        for (recipient, code, class) in [
            ("reject-perm@contoso.example", "smtp_550", Class::Terminal),
            ("reject-temp@contoso.example", "smtp_451", Class::Retryable),
        ] {
            let failure = send(&transport, mail(&["to@contoso.example", recipient]), LONG).await.expect_err("refused");
            assert_eq!((failure.code.as_str(), failure.class), (code, class));
            assert!(failure.message.starts_with("recipient 2 of 4: smtp"), "{}", failure.message);
            assert!(!failure.message.contains('@'), "{}", failure.message);
        }
        assert!(sink.mails().is_empty());
    }
}

#[tokio::test]
async fn a_slow_server_ends_at_the_deadline() {
    for start in Sink::MAKES {
        let sink = start("plain");
        let settings =
            json!({"host": "127.0.0.1", "port": sink.port, "security": "none", "from": "leads@contoso.example"});
        let transport = open(&settings, &Reach::new("unused"));
        let sent = send(&transport, mail(&["slow@contoso.example"]), Duration::from_secs(2)).await;
        let failure = sent.expect_err("too late");
        assert_eq!((failure.code.as_str(), failure.class), ("smtp_timeout", Class::Retryable));
        assert!(sink.mails().is_empty());
    }
}

/// The sink speaks no HTTP: what comes back behind a trusted handshake is `unknown_outcome`, before it nothing was sent.
#[tokio::test]
async fn https_trusts_by_the_same_rule() {
    let sink = Sink::start("tls");
    for (trusted, code) in [(true, "unknown_outcome"), (false, "tls_certificate")] {
        let ca = if trusted { vec![fs::read(sink.certificate()).expect("the certificate")] } else { Vec::new() };
        let settings = HttpClientSettings::default().with_ca(&ca);
        let transport = Transport::Http(Arc::new(HttpTransport::anonymous(&settings).expect("settings")));
        let effect = Effect::Http(HttpRequest {
            method: "GET".into(),
            url: format!("https://localhost:{}/", sink.port),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            url_from_value: false,
        });
        let simulated = Reply::Record;
        let call = Call {
            action: "a",
            secure: false,
            idx: "",
            connection: "",
            transport: &transport,
            effect: &effect,
            timeout: LONG,
            simulated,
        };
        let Reply::Failed(failure) = Real.perform(call).await else { panic!("no HTTP server") };
        assert_eq!(failure.code, code, "{}", failure.message);
    }
}
