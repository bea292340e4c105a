//! A wire to the shared database server on which an answer can be lost: what was asked for is done, nobody hears of it.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::postgres::Server;

/// Cut, when armed, behind the next statement: it is done, its answer is lost.
pub(crate) struct Wire {
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
    /// Whether the next answer is lost.
    pub(crate) armed: Arc<AtomicBool>,
}

impl Wire {
    /// A wire that is not armed.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let wire = Self { port: listener.local_addr().expect("bound").port(), armed: Arc::default() };
        let armed = Arc::clone(&wire.armed);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), armed) = (client, Arc::clone(&armed)) else { return };
                std::thread::spawn(move || drop(carry(&client, &armed)));
            }
        });
        wire
    }
}

/// Carries both ways. A message that begins with `B` binds the parameters of a statement, and runs it.
fn carry(client: &TcpStream, armed: &AtomicBool) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", Server::shared().port))?;
    let cut = Arc::new(AtomicBool::new(false));
    let (mut from_server, mut to_client, is_cut) = (server.try_clone()?, client.try_clone()?, Arc::clone(&cut));
    std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from_server.read(&mut buffer) {
            // What comes is the answer to what was done.
            if is_cut.load(Ordering::SeqCst) || to_client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        drop((to_client.shutdown(Shutdown::Both), from_server.shutdown(Shutdown::Both)));
    });
    let (mut from_client, mut to_server) = (client, server);
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from_client.read(&mut buffer) {
        if buffer[0] == b'B' && armed.swap(false, Ordering::SeqCst) {
            cut.store(true, Ordering::SeqCst);
        }
        to_server.write_all(&buffer[..read])?;
    }
    to_server.shutdown(Shutdown::Both)
}
