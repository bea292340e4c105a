//! Recorded effects: a dry run writes down what would be sent and sends nothing.
