//! One action: a handful of states, every legal move in one match.
