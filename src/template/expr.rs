//! The expressions that templates compile to, and their evaluation.

/// A compiled template body.
#[derive(Debug, Clone)]
pub struct Body {}
