//! The graph rule: run_after, skip cascade, final status. One pure fixpoint.
