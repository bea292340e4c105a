//! HTTP: two listeners with limits against silent, slow and large clients.
