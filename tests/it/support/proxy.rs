//! A way to a server that can be cut: TCP in the middle.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes bytes on until it is cut; new connections pass again.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// A proxy on a free port of loopback in front of `server`.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = Arc::clone(&streams);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down refuses its clients here as it would itself.
                let Ok(upstream) = TcpStream::connect(server) else { continue };
                let mut kept = kept.lock().expect("lock");
                for (from, to) in [(&client, &upstream), (&upstream, &client)] {
                    kept.push(from.try_clone().expect("clone"));
                    let (from, to) = (from.try_clone().expect("clone"), to.try_clone().expect("clone"));
                    std::thread::spawn(move || pass(from, to));
                }
            }
        });
        Self { address, streams }
    }

    /// Ends every connection, in the middle of whatever it says.
    pub(crate) fn cut(&self) {
        for stream in self.streams.lock().expect("lock").drain(..) {
            // Closed already: cut enough.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 16 << 10];
    while let Ok(read) = from.read(&mut bytes) {
        if read == 0 || to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
