//! Wires everything together, starts it, drains it: the only place that sees everything.
