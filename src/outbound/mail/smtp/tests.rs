//! The dialogue against a server that misbehaves on purpose, one way a test.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::super::message_for_tests;
use super::*;

/// Long enough to never matter on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// What the server does when it reads a line that starts with the word; `.` is the end of the text.
#[derive(Clone, Copy)]
enum Then {
    Say(&'static str),
    Drop,
    Silence,
}

/// Answers every line kindly, but `word`. Gives back everything it read.
async fn serve(word: &'static str, then: Then) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let mut stream = BufReader::new(stream);
        let (mut seen, mut in_text) = (Vec::new(), false);
        let mut line = "CONNECT".to_owned();
        loop {
            let told = line.starts_with(word) && (!in_text || word == ".");
            let answer = match then {
                _ if in_text && line != "." => None,
                Then::Say(words) if told => Some(words),
                Then::Drop if told => return seen,
                Then::Silence if told => {
                    std::future::pending::<()>().await;
                    None
                }
                _ => Some(kind_answer(&line)),
            };
            if let Some(answer) = answer {
                in_text = answer.starts_with("354");
                stream.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await.expect("the client reads");
            }
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return seen;
            }
            line.truncate(line.trim_end().len());
            seen.push(line.clone());
        }
    });
    (port, task)
}

fn kind_answer(line: &str) -> &'static str {
    match line.split(' ').next().unwrap_or_default() {
        "CONNECT" => "220 fake ESMTP",
        "EHLO" => "250-fake\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME",
        "AUTH" => "235 2.7.0 welcome",
        "DATA" => "354 go ahead",
        "." => "250 2.0.0 queued as 1 for to@contoso.example",
        "QUIT" => "221 bye",
        _ => "250 ok",
    }
}

fn transport(port: u16, security: Security) -> SmtpTransport {
    let login = Login::Password { username: "lead".into(), password: Secret::new("hunter2") };
    SmtpTransport::new("127.0.0.1", Some(port), security, "from@contoso.example", Some(login), &[]).expect("settings")
}

async fn send(word: &'static str, then: Then) -> Reply {
    let (port, _server) = serve(word, then).await;
    transport(port, Security::None).send(&message_for_tests("k@leadflow"), LONG).await
}

async fn failed(word: &'static str, then: Then) -> (String, Class, String) {
    match send(word, then).await {
        Reply::Failed(failure) => {
            assert!(!failure.message.contains('@') && !failure.message.contains("hunter2"), "{}", failure.message);
            (failure.code, failure.class, failure.message)
        }
        other => panic!("{word}: {other:?}"),
    }
}

#[tokio::test]
async fn a_mail_is_handed_over_step_by_step() {
    let (port, server) = serve("NOTHING", Then::Drop).await;
    let reply = transport(port, Security::None).send(&message_for_tests("k@leadflow"), LONG).await;
    let detail = "2.0.0 queued as 1 for (address)".to_owned();
    assert_eq!(reply, Reply::Email { message_id: "k@leadflow".into(), detail });
    let seen = server.await.expect("the server ends");
    let commands: Vec<_> = seen.iter().filter(|line| line.chars().take(4).all(|c| c.is_ascii_uppercase())).collect();
    assert!(commands[0].starts_with("EHLO ") && commands[1].starts_with("AUTH PLAIN "), "{commands:?}");
    assert_eq!(commands[2..5], ["MAIL FROM:<from@contoso.example>", "RCPT TO:<to@contoso.example>", "DATA"]);
    assert!(seen.contains(&"Message-ID: <k@leadflow>".to_owned()), "{seen:?}");
    assert_eq!(seen.last().map(String::as_str), Some("QUIT"));
}

#[tokio::test]
async fn refusals_are_retried_or_not_by_their_first_digit() {
    for word in ["MAIL", "RCPT", "DATA", "."] {
        let (code, class, message) = failed(word, Then::Say("451 4.3.0 try again later")).await;
        assert_eq!((code.as_str(), class), ("smtp_451", Class::Retryable), "{word}");
        assert!(message.contains("4.3.0 try again later"), "{message}");
        let (code, class, _) = failed(word, Then::Say("550 5.1.1 <to@contoso.example> no such user")).await;
        assert_eq!((code.as_str(), class), ("smtp_550", Class::Terminal), "{word}");
    }
    let (code, class, _) = failed("CONNECT", Then::Say("421 4.3.2 closing")).await;
    assert_eq!((code.as_str(), class), ("smtp_421", Class::Retryable));
}

#[tokio::test]
async fn a_refused_password_names_the_fix() {
    let (code, class, message) = failed("AUTH", Then::Say("535 5.7.8 bad credentials for lead@contoso.example")).await;
    assert_eq!((code.as_str(), class), ("smtp_535", Class::Credentials));
    assert!(message.contains("5.7.8") && message.contains("check `auth`"), "{message}");
    let words = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.";
    let (code, class, message) = failed("AUTH", Then::Say(words)).await;
    assert_eq!((code.as_str(), class), ("smtp_auth_disabled", Class::Credentials));
    assert!(message.contains("Microsoft 365 refuses passwords: use OAuth2"), "{message}");
    let (code, class, _) = failed("AUTH", Then::Say("454 4.7.0 temporary")).await;
    assert_eq!((code.as_str(), class), ("smtp_454", Class::Retryable));
    let (code, class, _) = failed("EHLO", Then::Say("250 plain and simple")).await;
    assert_eq!((code.as_str(), class), ("smtp_auth", Class::Terminal));
}

#[tokio::test]
async fn a_password_is_not_shown_to_a_server_that_wants_a_token() {
    let (code, class, message) = failed("EHLO", Then::Say("250-fake\r\n250 AUTH XOAUTH2")).await;
    assert_eq!((code.as_str(), class), ("smtp_auth", Class::Terminal));
    assert!(message.contains("takes no password"), "{message}");
}

#[tokio::test]
async fn only_a_mail_on_the_way_may_have_been_delivered() {
    for word in ["CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"] {
        let (_, class, _) = failed(word, Then::Drop).await;
        assert_eq!(class, Class::Retryable, "{word}");
    }
    let (code, class, _) = failed(".", Then::Drop).await;
    assert_eq!((code.as_str(), class), ("unknown_outcome", Class::Unknown));
    assert!(matches!(send("QUIT", Then::Drop).await, Reply::Email { .. }), "taken is taken");
    assert!(matches!(send("QUIT", Then::Silence).await, Reply::Email { .. }), "taken is taken");
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    for (word, code, class) in [
        ("CONNECT", "smtp_timeout", Class::Retryable),
        ("RCPT", "smtp_timeout", Class::Retryable),
        (".", "timeout", Class::TimedOut),
    ] {
        let (port, _server) = serve(word, Then::Silence).await;
        let reply =
            transport(port, Security::None).send(&message_for_tests("k@leadflow"), Duration::from_millis(300)).await;
        let Reply::Failed(failure) = reply else { panic!("{word}: {reply:?}") };
        assert_eq!((failure.code.as_str(), failure.class), (code, class), "{word}");
        if word == "CONNECT" {
            assert!(failure.message.contains("port 465 wants `security: tls`"), "{}", failure.message);
        }
    }
}

#[tokio::test]
async fn encryption_is_required_and_its_absence_named() {
    for (security, hint) in [(Security::Starttls, "offers no STARTTLS"), (Security::Tls, "does not speak TLS")] {
        let (port, server) = serve("NOTHING", Then::Drop).await;
        let Reply::Failed(failure) = transport(port, security).send(&message_for_tests("k@leadflow"), LONG).await
        else {
            panic!("refused")
        };
        assert_eq!((failure.code.as_str(), failure.class), ("smtp_tls", Class::Terminal));
        assert!(failure.message.contains(hint), "{}", failure.message);
        drop(failure);
        let seen = server.await.expect("the server ends");
        assert!(!seen.iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")), "{seen:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
    let reply = transport(port, Security::Starttls).send(&message_for_tests("k@leadflow"), LONG).await;
    let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
    assert_eq!((failure.code.as_str(), failure.class), ("connect_failed", Class::Retryable));
}

#[test]
fn settings_are_checked_and_passwords_never_shown() {
    let bad_ca = SmtpTransport::new("h", None, Security::Tls, "a@b.example", None, &[b"no certificate".to_vec()]);
    assert!(bad_ca.is_err_and(|error| error.contains("ca")));
    assert!(SmtpTransport::new(" ", None, Security::Tls, "a@b.example", None, &[]).is_err());
    assert_eq!(transport(1, Security::Tls).default_from(), "from@contoso.example");
    assert!(!format!("{:?}", transport(1, Security::Tls)).contains("hunter2"));
    assert_eq!([Security::Starttls, Security::Tls, Security::None].map(Security::port), [587, 465, 25]);
}
