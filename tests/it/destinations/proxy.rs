//! What can go wrong on the way to any system behind HTTP: a proxy in front of it that loses answers, asks to wait, or
//! answers itself.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What becomes of one request.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It is passed on, and so is the answer.
    Pass,
    /// It is passed on and done; the answer is lost.
    LoseAnswer,
    /// It is not passed on: this is the answer, head and body.
    Answer(String),
}

impl Fate {
    /// Wait for so many seconds.
    pub(crate) fn too_many_requests(secs: u32) -> Self {
        Self::answer(
            "429 Too Many Requests",
            &format!("retry-after: {secs}\r\ncontent-type: application/json\r\n"),
            "{}",
        )
    }

    /// A login page, as a proxy or a portal gives it.
    pub(crate) fn login_page() -> Self {
        Self::answer("200 OK", "content-type: text/html\r\n", "<!doctype html><form action=/login>Sign in</form>")
    }

    /// The way to a login page.
    pub(crate) fn redirect() -> Self {
        Self::answer("302 Found", "location: /login?return=%2F\r\n", "")
    }

    /// More bytes of JSON than anybody wants.
    pub(crate) fn long() -> Self {
        Self::answer("200 OK", "content-type: application/json\r\n", &format!("[\"{}\"]", "x".repeat(11 << 20)))
    }

    fn answer(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Answer(format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }
}

/// A proxy on a free port of loopback.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl Proxy {
    /// In front of `backend`; `fate` decides by the number of requests before this one.
    pub(crate) fn start(backend: SocketAddr, fate: impl Fn(usize) -> Fate + Send + Sync + 'static) -> Self {
        Self::between(backend, move |number, request| (fate(number), request))
    }

    /// In front of `backend`, which gets what `change` makes of a request; `None` is refused with 401.
    pub(crate) fn gated(
        backend: SocketAddr,
        change: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::between(backend, move |_, request| match change(&request) {
            Some(changed) => (Fate::Pass, changed),
            None => (Fate::answer("401 Unauthorized", "", ""), request),
        })
    }

    fn between(
        backend: SocketAddr,
        decide: impl Fn(usize, Vec<u8>) -> (Fate, Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let calls: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let (seen, decide) = (Arc::clone(&calls), Arc::new(decide));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, decide) = (Arc::clone(&seen), Arc::clone(&decide));
                std::thread::spawn(move || serve(&stream, backend, &seen, decide.as_ref()));
            }
        });
        Self { address, calls }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// When each request came.
    pub(crate) fn calls(&self) -> Vec<Instant> {
        self.calls.lock().expect("lock").clone()
    }
}

/// One connection carries one request: every answer closes it.
fn serve(
    stream: &TcpStream,
    backend: SocketAddr,
    calls: &Mutex<Vec<Instant>>,
    decide: &dyn Fn(usize, Vec<u8>) -> (Fate, Vec<u8>),
) {
    let mut reader = BufReader::new(stream);
    let Some(request) = read(&mut reader) else { return };
    let number = {
        let mut calls = calls.lock().expect("lock");
        calls.push(Instant::now());
        calls.len() - 1
    };
    let (fate, request) = decide(number, request);
    let answer = match &fate {
        Fate::Answer(answer) => answer.clone().into_bytes(),
        Fate::Pass | Fate::LoseAnswer => pass_on(backend, &request),
    };
    if !matches!(fate, Fate::LoseAnswer) {
        let mut writer = stream;
        // Who asked may have gone away already, as it does when an answer is too long.
        let _gone = writer.write_all(&answer);
    }
}

fn pass_on(backend: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(backend).expect("the counterpart listens");
    stream.write_all(request).expect("the counterpart takes the request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the counterpart answers");
    // Not every server says that it closes; whoever is not told may send the next request into the closing connection.
    if let Some(end) = answer.windows(2).position(|end| end == b"\r\n") {
        answer.splice(end..end, *b"\r\nconnection: close");
    }
    answer
}

/// A whole request, told to be the only one of its connection.
fn read(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim_end().is_empty() {
            break;
        }
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if name == "content-length" {
            length = line.split_once(':')?.1.trim().parse().ok()?;
        }
        if name != "connection" {
            head.push_str(&line);
        }
    }
    head.push_str("connection: close\r\n\r\n");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some([head.as_bytes(), &body].concat())
}
