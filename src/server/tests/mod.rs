//! The server over real sockets, with a store and an engine in memory.

mod admin;
mod answers;
mod drain;
mod fakes;
mod hostile;
mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::SystemClock;
use crate::flow::plan::Plan;
use crate::flow::{Authentication, Bundle, Defaults, Flow, PathPattern, Segment, TestLeads, Trigger};
use crate::library::{FlowSet, LiveFlow};
use crate::schema::Validation;
use crate::triggers::request::BodyLimits;
use crate::units::Rate;
use fakes::{FakeEngine, FakeReload, FakeStore};

/// A running server and everything round it.
struct Site<S = FakeStore> {
    public: SocketAddr,
    admin: SocketAddr,
    engine: Arc<FakeEngine>,
    store: Arc<S>,
    keys: Arc<KeyRing>,
    reload: Arc<FakeReload>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

fn limits() -> Limits {
    Limits {
        body: BodyLimits { body_bytes_max: 1000, unpacked_bytes_max: 4000, json_depth_max: 64 },
        headers_bytes_max: 4096,
        url_bytes_max: 1024,
        connections_max: 64,
        header_timeout: Duration::from_secs(60),
        body_timeout: Duration::from_secs(60),
        failed_auth_per_address: Rate { per_second: 1000.0 },
        rate_per_flow: None,
        waiting_runs_per_flow: 10,
        workers: 1,
        actions_per_flow: 1,
        nesting: 1,
        iterations: 100_000,
        template_output_bytes_max: 1,
        outputs_bytes_max: 1,
        response_bytes_max: 1,
        respond_wait: Duration::from_millis(200),
        run_duration: Duration::from_secs(1),
    }
}

fn config() -> Config {
    let any = "127.0.0.1:0".parse().expect("address");
    Config {
        public_listen: any,
        public_url: None,
        admin_listen: any,
        admin_token: None,
        trusted_proxies: Vec::new(),
        connections: vec![("crm".into(), "http".into())],
        limits: limits(),
        shutdown_grace: Duration::from_secs(5),
    }
}

/// Settings that do not wait for slow clients.
fn hurried() -> Config {
    let mut config = config();
    config.limits.header_timeout = Duration::from_millis(500);
    config.limits.body_timeout = Duration::from_millis(500);
    config
}

fn flow(name: &str) -> Flow {
    Flow {
        name: name.into(),
        description: None,
        enabled: true,
        aliases: Vec::new(),
        parameters: json!({}),
        variables: Vec::new(),
        trigger: Trigger {
            methods: vec!["POST".into()],
            path: None,
            authentication: Authentication::SignedUrl,
            validation: Validation::Lenient,
            schema: None,
            conditions: Vec::new(),
            test_leads: TestLeads::default(),
            split_on: None,
            dedupe: None,
            concurrency: None,
        },
        plan: Plan::default(),
        actions: Vec::new(),
        responds: false,
        answers_later: false,
        digest: "d".into(),
        bundle: Bundle {
            file: format!("flows/{name}.yaml"),
            text: String::new(),
            blueprint: None,
            schemas: BTreeMap::new(),
            parameters: json!({}),
            defaults: Defaults::default(),
        },
    }
}

/// `signed`, `open` (no authentication), `orders` (path, GET and PUT), and `old`, an alias of `signed`.
fn flows() -> FlowSet {
    let mut open = flow("open");
    open.trigger.authentication = Authentication::None;
    let mut orders = flow("orders");
    orders.trigger.methods = vec!["GET".into(), "PUT".into()];
    let segments = vec![Segment::Literal("customers".into()), Segment::Parameter("id".into())];
    orders.trigger.path = Some(PathPattern { source: "customers/{id}".into(), segments });
    let live = [flow("signed"), open, orders]
        .into_iter()
        .map(|flow| (flow.name.clone(), Arc::new(LiveFlow { flow: Arc::new(flow), text_id: 1 })));
    FlowSet {
        generation: 1,
        flows: live.collect(),
        aliases: BTreeMap::from([("old".into(), "signed".into())]),
        ..FlowSet::default()
    }
}

impl Site {
    async fn start() -> Self {
        Self::with(config(), FakeEngine::default()).await
    }

    async fn with(config: Config, engine: FakeEngine) -> Self {
        Self::on(FakeStore::default(), config, engine).await
    }
}

impl<S: Store> Site<S> {
    async fn on(store: S, config: Config, engine: FakeEngine) -> Self {
        let (engine, store) = (Arc::new(engine), Arc::new(store));
        let keys = Arc::new(KeyRing::load(store.as_ref(), None).await.expect("a working store"));
        let library = Library::default();
        library.swap(flows());
        let reload = Arc::new(FakeReload::default());
        let deps = Deps {
            library: Arc::new(library),
            accept: engine.clone(),
            store: store.clone(),
            keys: keys.clone(),
            clock: Arc::new(SystemClock),
            reload: reload.clone(),
        };
        let server = Server::bind(config, deps).await.expect("free ports");
        let (public, admin) = (server.public_addr(), server.admin_addr());
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(server.run(stopped));
        Self { public, admin, engine, store, keys, reload, stop, running }
    }

    /// The signed path of `flow`.
    fn url(&self, flow: &str) -> String {
        format!("/flows/{flow}?{}", self.keys.url_query(flow, "primary", None))
    }

    /// Sends `raw` to the public listener on a connection of its own.
    async fn raw(&self, raw: impl AsRef<[u8]>) -> Answer {
        exchange(self.public, raw.as_ref()).await
    }

    async fn send(&self, method: &str, url: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let head = format!("{method} {url} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n", body.len());
        self.raw([head.as_bytes(), body].concat()).await
    }

    async fn post(&self, flow: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", &self.url(flow), "", body).await
    }

    async fn admin(&self, path: &str, headers: &str) -> Answer {
        let host = if headers.contains("host:") { "" } else { "host: localhost\r\n" };
        exchange(self.admin, format!("GET {path} HTTP/1.1\r\n{host}{headers}\r\n").as_bytes()).await
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The code of a problem document, whose form is checked on the way.
    fn code(&self) -> String {
        let problem = self.json();
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["request_id"], self.headers["x-request-id"].as_str());
        for key in ["type", "title", "detail"] {
            assert!(problem[key].is_string(), "{key} in {problem}");
        }
        problem["code"].as_str().expect("a code").to_owned()
    }
}

async fn exchange(to: SocketAddr, raw: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).await.expect("connects");
    stream.write_all(raw).await.expect("sends");
    read_answer(&mut stream).await.expect("answers")
}

/// Reads one answer; `None` when the server closes instead. Every wait in these tests is bounded by this one.
async fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let read = async {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = parse_answer(&bytes) {
                return Some(answer);
            }
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("the server answers or closes")
}

fn parse_answer(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).expect("answers are UTF-8");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(": ").expect("a header"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
    (body.len() >= length).then(|| Answer { status, headers, body: body[..length].to_owned() })
}
