//! Sources of tokens against an endpoint that does what each test tells it to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::outbound::http::{Credentials, HttpTransport, Origin};
use crate::outbound::{HttpRequest, Reply};
use crate::run::Class;

/// Long enough to never matter on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// A server: what it read, in order.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("lock").clone()
    }

    /// How many requests went to `path`.
    fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|request| request.split(' ').nth(1) == Some(path)).count()
    }
}

/// Answers each request with what `answer` says: status, more header lines, body. It gets the number of requests before
/// this one, and the request. `None`: silence.
async fn serve(answer: impl Fn(usize, &str) -> Option<(u16, String, Value)> + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (read, answer) = (Arc::clone(&seen), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (read, answer) = (Arc::clone(&read), Arc::clone(&answer));
            tokio::spawn(async move {
                let request = request(&mut stream).await;
                let n = {
                    let mut read = read.lock().expect("lock");
                    read.push(request.clone());
                    read.len() - 1
                };
                let Some((status, headers, body)) = answer(n, &request) else { return std::future::pending().await };
                let body = body.to_string();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n");
                let whole = format!("{head}{headers}content-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(whole.as_bytes()).await.expect("the client reads");
            });
        }
    });
    Server { url, seen }
}

async fn request(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let read = stream.read_buf(&mut bytes).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = |head: &str| {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            length.unwrap_or(0_usize)
        };
        if read == 0 || text.find("\r\n\r\n").is_some_and(|end| bytes.len() >= end + 4 + length(&text[..end])) {
            return text;
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is an answer as `serve` wants it")]
fn token(n: usize) -> Option<(u16, String, Value)> {
    Some((200, String::new(), json!({"access_token": format!("token-{n}"), "expires_in": 3600})))
}

fn settings(server: &Server) -> TokenSettings {
    read(json!({"type": "oauth2_client_credentials", "token_url": format!("{}/token", server.url),
        "client_id": "app", "client_secret": "hunter2"}))
}

fn read(settings: Value) -> TokenSettings {
    serde_json::from_value(settings).expect("settings")
}

fn source(settings: TokenSettings) -> Arc<TokenSource> {
    TokenSources::default().source(settings, &HttpClientSettings::default()).expect("a source")
}

/// Twenty at once.
async fn twenty(source: &Arc<TokenSource>) -> Vec<Result<u64, Class>> {
    let asks: Vec<_> = (0..20)
        .map(|_| {
            let source = Arc::clone(source);
            tokio::spawn(async move { source.token().await })
        })
        .collect();
    let mut answers = Vec::new();
    for ask in asks {
        let answer = ask.await.expect("no panic");
        answers.push(answer.map(|ticket| ticket.generation).map_err(|failure| failure.class));
    }
    answers
}

#[tokio::test]
async fn all_who_wait_share_one_call() {
    let server = serve(|n, _| token(n)).await;
    let source = source(settings(&server));
    assert_eq!(twenty(&source).await, [Ok(1); 20]);
    assert_eq!(twenty(&source).await, [Ok(1); 20]);
    assert_eq!(server.seen().len(), 1);
    // All twenty are told that it is not taken: it is replaced once.
    for _ in 0..20 {
        source.refused(1);
    }
    assert_eq!(twenty(&source).await, [Ok(2); 20]);
    source.refused(1);
    assert_eq!(source.token().await.expect("a token").token.expose(), "token-1");
    assert_eq!(server.seen().len(), 2);
    let request = &server.seen()[0];
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("content-type: application/x-www-form-urlencoded\r\n"), "{request}");
    assert!(request.ends_with("grant_type=client_credentials&client_id=app&client_secret=hunter2"), "{request}");
}

#[tokio::test]
async fn all_who_wait_share_a_failure_and_the_next_ask_again() {
    let down = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&down);
    let server =
        serve(move |n, _| if told.load(Ordering::SeqCst) { Some((503, String::new(), Value::Null)) } else { token(n) })
            .await;
    let source = source(settings(&server));
    assert_eq!(twenty(&source).await, [Err(Class::Retryable); 20]);
    assert_eq!(server.seen().len(), 1);
    down.store(false, Ordering::SeqCst);
    assert_eq!(twenty(&source).await, [Ok(1); 20]);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn while_a_token_is_valid_an_endpoint_that_is_down_stops_nobody() {
    let server = serve(|_, _| Some((500, String::new(), Value::Null))).await;
    let source = source(settings(&server));
    source.hold_due(Secret::new("old"), Duration::from_secs(3600));
    for _ in 0..3 {
        assert_eq!(source.token().await.expect("a token").token.expose(), "old");
    }
    assert_eq!(server.seen().len(), 1, "and it is not asked by every request");
    source.hold_due(Secret::new("old"), Duration::ZERO);
    assert_eq!(source.token().await.expect_err("it has ended").class, Class::Retryable);
}

#[tokio::test]
async fn who_gives_up_waiting_takes_nothing_from_the_others() {
    let server = serve(|n, _| token(n)).await;
    let source = source(settings(&server));
    let first = Arc::clone(&source);
    let first = tokio::spawn(async move { first.token().await });
    tokio::task::yield_now().await;
    first.abort();
    assert_eq!(source.token().await.expect("a token").generation, 1);
    assert_eq!(server.seen().len(), 1);
}

/// Keeps in memory; fails when told to.
#[derive(Default)]
struct Keeper {
    kept: Mutex<Option<(String, String)>>,
    broken: AtomicBool,
}

impl Keeper {
    fn answer<T: Send + 'static>(&self, value: impl FnOnce() -> T) -> Fut<'_, Result<T, String>> {
        let answer = if self.broken.load(Ordering::SeqCst) { Err("told to".into()) } else { Ok(value()) };
        Box::pin(std::future::ready(answer))
    }

    fn now(&self) -> Option<String> {
        self.kept.lock().expect("lock").as_ref().map(|(_, token)| token.clone())
    }
}

impl TokenKeeper for Keeper {
    fn newest<'a>(&'a self, key: &'a str) -> Fut<'a, Result<Option<Secret>, String>> {
        let kept = self.kept.lock().expect("lock").clone();
        self.answer(|| kept.filter(|(own, _)| own == key).map(|(_, token)| Secret::new(token)))
    }

    fn keep<'a>(&'a self, key: &'a str, token: &'a Secret) -> Fut<'a, Result<(), String>> {
        self.answer(|| *self.kept.lock().expect("lock") = Some((key.to_owned(), token.expose().to_owned())))
    }
}

/// Takes each refresh token once, and gives the next: `r0`, `r1`, …
async fn rotating(newest: Arc<Mutex<String>>) -> Server {
    serve(move |n, request| {
        let mut newest = newest.lock().expect("lock");
        if !request.contains(&format!("refresh_token={newest}&")) {
            return Some((400, String::new(), json!({"error": "invalid_grant"})));
        }
        *newest = format!("r{}", n + 1);
        let more = json!({"access_token": format!("token-{n}"), "expires_in": 3600, "refresh_token": *newest});
        Some((200, String::new(), more))
    })
    .await
}

fn refreshing(server: &Server, keeper: &Arc<Keeper>) -> Arc<TokenSource> {
    let settings = read(json!({"type": "oauth2_refresh_token", "token_url": format!("{}/token", server.url),
        "client_id": "app", "client_secret": "hunter2", "refresh_token": "r0"}));
    let keeper = Arc::clone(keeper) as Arc<dyn TokenKeeper>;
    TokenSources::kept_by(keeper).source(settings, &HttpClientSettings::default()).expect("a source")
}

#[tokio::test]
async fn a_new_refresh_token_outlives_the_process() {
    let server = rotating(Arc::new(Mutex::new("r0".to_owned()))).await;
    let keeper = Arc::new(Keeper::default());
    for life in 1..=3 {
        let source = refreshing(&server, &keeper);
        source.token().await.expect("a token");
        assert_eq!(keeper.now(), Some(format!("r{life}")));
    }
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_refresh_token_that_cannot_be_stored_is_used_and_stored_later() {
    let server = rotating(Arc::new(Mutex::new("r0".to_owned()))).await;
    let keeper = Arc::new(Keeper::default());
    let source = refreshing(&server, &keeper);
    keeper.broken.store(true, Ordering::SeqCst);
    assert_eq!(source.token().await.expect_err("the newest is not known").class, Class::Retryable);
    assert_eq!(server.seen().len(), 0, "an old one may end all of them");
    keeper.broken.store(false, Ordering::SeqCst);
    source.token().await.expect("a token");
    keeper.broken.store(true, Ordering::SeqCst);
    source.forget_kept();
    source.refused(1);
    source.token().await.expect("a token with the one in memory");
    assert_eq!(keeper.now().as_deref(), Some("r1"));
    keeper.broken.store(false, Ordering::SeqCst);
    source.refused(2);
    source.token().await.expect("a token");
    assert_eq!(keeper.now().as_deref(), Some("r3"));
}

#[tokio::test]
async fn another_nodes_newer_refresh_token_is_used_after_a_refusal() {
    let keeper = Arc::new(Keeper::default());
    let key: Arc<Mutex<String>> = Arc::default();
    let (late, known) = (Arc::clone(&keeper), Arc::clone(&key));
    // The other node used ours and stored its new one between our reading and our asking.
    let server = serve(move |n, request| {
        if n == 0 {
            *late.kept.lock().expect("lock") = Some((known.lock().expect("lock").clone(), "r9".to_owned()));
        }
        if request.contains("refresh_token=r9&") {
            token(n)
        } else {
            Some((400, String::new(), json!({"error": "invalid_grant"})))
        }
    })
    .await;
    let source = refreshing(&server, &keeper);
    *key.lock().expect("lock") = source.key().expect("a key").to_owned();
    assert_eq!(source.token().await.expect("a token").token.expose(), "token-1");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_statement_refused_for_its_time_is_made_again_with_the_servers() {
    let date = |secs: i64| jiff::Timestamp::now().as_second() + secs;
    let http = move |secs| {
        let time = jiff::Timestamp::from_second(date(secs)).expect("a time");
        format!("date: {}\r\n", time.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    };
    for (ahead, calls) in [(900, 2), (-900, 2), (0, 1)] {
        let server = serve(move |n, _| match n {
            0 => Some((400, http(ahead), json!({"error": "invalid_grant"}))),
            _ => token(n),
        })
        .await;
        let mut settings = jwt::tests::settings(&jwt::tests::fresh().0);
        settings.token_url = format!("{}/token", server.url);
        let asked = source(TokenSettings::JwtBearer(settings)).token().await;
        assert_eq!((asked.is_ok(), server.seen().len()), (calls == 2, calls), "{ahead}");
    }
}

/// A connection whose API stands beside its token endpoint.
fn connection(server: &Server) -> HttpTransport {
    let auth: Credentials = serde_json::from_value(json!({"type": "oauth2_client_credentials",
        "token_url": format!("{}/token", server.url), "client_id": "app", "client_secret": "hunter2"}))
    .expect("settings");
    assert!(!format!("{auth:?}").contains("hunter2"));
    let origin = Origin { base_url: Some(server.url.clone()), auth, ..Origin::default() };
    HttpTransport::connection(&HttpClientSettings::default(), origin).expect("a connection")
}

fn get(url: &str) -> HttpRequest {
    HttpRequest {
        method: "GET".into(),
        url: url.into(),
        query: Vec::new(),
        headers: vec![("authorization".into(), "the flow's own".into())],
        body: None,
        url_from_value: false,
    }
}

#[tokio::test]
async fn a_request_is_replayed_once_after_a_401() {
    let server = serve(|n, request| match request {
        request if request.starts_with("POST /token") => token(n),
        request if request.contains("authorization: Bearer token-0\r\n") => Some((401, String::new(), Value::Null)),
        request => Some((200, String::new(), json!(request.matches("authorization").count()))),
    })
    .await;
    let connection = connection(&server);
    let Reply::Http(reply) = connection.send(&get("/leads"), LONG).await else { panic!("an answer") };
    assert_eq!((reply.status, reply.body), (200, json!(1)));
    assert_eq!((server.count("/token"), server.count("/leads")), (2, 2));
    // What goes elsewhere goes without.
    let other = serve(|_, _| Some((401, String::new(), Value::Null))).await;
    let Reply::Http(reply) = connection.send(&get(&format!("{}/x", other.url)), LONG).await else {
        panic!("an answer")
    };
    assert_eq!((reply.status, other.seen().len()), (401, 1));
    assert!(other.seen()[0].contains("authorization: the flow's own\r\n"), "{:?}", other.seen());
}

#[tokio::test]
async fn a_401_that_stays_is_given_back_after_one_replay() {
    let server =
        serve(
            |n, request| {
                if request.starts_with("POST /token") { token(n) } else { Some((401, String::new(), Value::Null)) }
            },
        )
        .await;
    let Reply::Http(reply) = connection(&server).send(&get("/leads"), LONG).await else { panic!("an answer") };
    assert_eq!(reply.status, 401);
    assert_eq!((server.count("/token"), server.count("/leads")), (2, 2));
}

#[tokio::test]
async fn a_token_that_does_not_come_means_that_nothing_was_sent() {
    let silent = serve(|_, _| None).await;
    let Reply::Failed(failure) = connection(&silent).send(&get("/leads"), Duration::from_millis(200)).await else {
        panic!("too late")
    };
    assert_eq!((failure.code.as_str(), failure.class), ("token_unavailable", Class::Retryable));
    let refusing = serve(|_, _| Some((401, String::new(), json!({"error": "invalid_client"})))).await;
    let Reply::Failed(failure) = connection(&refusing).send(&get("/leads"), LONG).await else { panic!("refused") };
    assert_eq!((failure.code.as_str(), failure.class), ("token_refused", Class::Credentials));
    assert!(!failure.message.contains("hunter2"), "{}", failure.message);
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let nobody = Server { url: format!("http://{free}"), seen: Arc::default() };
    let Reply::Failed(failure) = connection(&nobody).send(&get("/leads"), LONG).await else { panic!("nobody there") };
    assert_eq!((failure.code.as_str(), failure.class), ("connect_failed", Class::Retryable));
    assert_eq!((silent.count("/leads"), refusing.count("/leads")), (0, 0));
}

/// A connection to `server` with these credentials.
fn with(server: &Server, auth: Value) -> HttpTransport {
    let auth: Credentials = serde_json::from_value(auth).expect("settings");
    let origin = Origin { base_url: Some(server.url.clone()), auth, ..Origin::default() };
    HttpTransport::connection(&HttpClientSettings::default(), origin).expect("a connection")
}

#[tokio::test]
async fn a_table_request_is_signed_and_signed_again_with_the_servers_time() {
    let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    for (date, asked) in [("Sun, 06 Nov 2044 08:49:37 GMT", 2), ("soon", 1)] {
        let server = serve(move |_, _| Some((403, format!("date: {date}\r\n"), Value::Null))).await;
        let connection = with(&server, json!({"type": "shared_key", "account": "contoso", "key": key}));
        let Reply::Http(reply) = connection.send(&get("leads"), LONG).await else { panic!("an answer") };
        let seen = server.seen();
        assert_eq!((reply.status, seen.len()), (403, asked), "{date}");
        for request in &seen {
            assert_eq!(request.matches("authorization: ").count(), 1, "{request}");
            assert_eq!(request.matches("x-ms-date: ").count(), 1, "{request}");
            assert!(request.contains("authorization: SharedKey contoso:"), "{request}");
        }
        assert_eq!(seen.last().expect("a request").contains("x-ms-date: Sun, 06 Nov 2044"), asked == 2);
    }
}

#[tokio::test]
async fn a_shared_access_signature_goes_as_it_is_and_is_not_shown() {
    let server = serve(|_, _| Some((200, String::new(), Value::Null))).await;
    for (url, sent) in [("leads", "/leads?sv=1&sig=a%2Bb"), ("leads?$top=1", "/leads?$top=1&sv=1&sig=a%2Bb")] {
        let connection = with(&server, json!({"type": "sas", "token": "?sv=1&sig=a%2Bb\n"}));
        let shown = connection.target(&get(url)).expect("a target").shown_url();
        assert!(shown.ends_with("***") && !shown.contains("sig"), "{shown}");
        assert!(matches!(connection.send(&get(url), LONG).await, Reply::Http(_)));
        assert_eq!(server.count(sent), 1, "{:?}", server.seen());
    }
}

#[test]
fn connections_with_the_same_auth_share_their_source() {
    let sources = TokenSources::default();
    let client = HttpClientSettings::default();
    let settings = |secret: &str| {
        read(json!({"type": "oauth2_client_credentials", "token_url": "https://a.example", "client_id": "app",
            "client_secret": secret}))
    };
    let source = |secret: &str, client| sources.source(settings(secret), client).expect("a source");
    let first = source("a", &client);
    assert!(Arc::ptr_eq(&first, &source("a", &client)));
    assert!(!Arc::ptr_eq(&first, &source("b", &client)));
    assert!(!Arc::ptr_eq(&first, &source("a", &HttpClientSettings { response_bytes_max: 7, ..client.clone() })));
    assert!(!format!("{first:?} {sources:?} {:?}", settings("hunter2")).contains("hunter2"));
}

impl TokenSource {
    /// Holds a token that ends in `left` and is to be replaced now.
    fn hold_due(&self, token: Secret, left: Duration) {
        let mut held = held::Held::new(token, 1, Instant::now(), left);
        held.make_due();
        self.state().held = Some(held);
    }

    /// As if the last refresh token could not be stored.
    fn forget_kept(&self) {
        self.state().unkept = true;
    }

    fn key(&self) -> Option<&str> {
        self.keeper.as_ref().map(|(_, key)| key.as_str())
    }
}
