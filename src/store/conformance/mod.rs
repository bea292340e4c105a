//! The promises of [`Store`](super::Store), tested against any implementation.
