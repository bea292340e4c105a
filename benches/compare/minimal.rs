//! The least that could do the job, to measure against: no flows, no limits, no retries.

use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

/// A lead and whom to tell once it is on disk.
type Insert = (Bytes, oneshot::Sender<()>);

/// Serves `bare` or `durable` until killed.
pub(crate) fn serve(kind: &str) {
    let durable = (kind == "durable").then(Durable::start).map(Arc::new);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("listening {}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            stream.set_nodelay(true).expect("nodelay");
            let durable = durable.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, durable.clone()));
                // The client ends the measurement by closing.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

async fn answer(
    request: Request<Incoming>,
    durable: Option<Arc<Durable>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let lead: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    if let Some(durable) = durable {
        assert!(durable.schema.is_valid(&lead), "the sample fits the schema");
        let (done, synced) = oneshot::channel();
        durable.inserts.send((body, done)).expect("the writer lives");
        synced.await.expect("the writer answers");
    }
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"accepted\"}")));
    *response.status_mut() = hyper::StatusCode::ACCEPTED;
    Ok(response)
}

/// One table, one writer, one commit for whatever queued up during the last sync.
struct Durable {
    inserts: mpsc::Sender<Insert>,
    schema: jsonschema::Validator,
}

impl Durable {
    fn start() -> Self {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../schemas/marketplace-lead.json")).expect("JSON");
        let schema = jsonschema::options().offline().build(&schema).expect("a schema");
        let mut db = rusqlite::Connection::open("minimal.db").expect("a database");
        db.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE leads(id INTEGER PRIMARY KEY, body BLOB);",
        )
        .expect("a table");
        let (inserts, queue) = mpsc::channel::<Insert>();
        std::thread::spawn(move || {
            while let Ok(first) = queue.recv() {
                let group: Vec<Insert> = std::iter::once(first).chain(queue.try_iter().take(1023)).collect();
                let transaction = db.transaction().expect("begin");
                for (body, _) in &group {
                    let mut insert =
                        transaction.prepare_cached("INSERT INTO leads(body) VALUES (?1)").expect("prepare");
                    insert.execute([body.as_ref()]).expect("insert");
                }
                transaction.commit().expect("commit");
                for (_, done) in group {
                    // The client may have gone at the end of the measurement.
                    let _ = done.send(());
                }
            }
        });
        Self { inserts, schema }
    }
}
