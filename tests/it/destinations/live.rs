//! `check --live` against systems that tell of their fields.
