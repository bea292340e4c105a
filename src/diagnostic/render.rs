//! Renderers of findings: text with the offending line, JSON, GitHub annotations.
