//! Power Automate functions as helpers: one declaration each (name, arguments, meaning, examples that run).
