//! Secure values, kept from whoever reads: blotted out in what is shown, and by the store once a run has ended.

use serde_json::Value;

use super::{StepIo, StoredRun};
use crate::flow::secure::{MASK, Secure};

/// The mark of a stored answer that is secure.
pub const SECURE_ANSWER: &str = "secure";

impl StepIo {
    /// Blots out what is secure. A code and a null stay: they hold nothing.
    pub fn hide(&mut self) {
        let Secure { inputs, outputs, error } = self.secure;
        for (value, is_secure) in [(&mut self.inputs, inputs), (&mut self.outputs, outputs)] {
            if let Some(value) = value.as_mut().filter(|value| is_secure && !value.is_null()) {
                *value = Value::from(MASK);
            }
        }
        if let Some(failure) = self.error.as_mut().filter(|_| error) {
            MASK.clone_into(&mut failure.message);
        }
    }
}

impl StoredRun {
    /// The run as it may be shown.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.steps.iter_mut().for_each(|step| step.io.hide());
        if let Some(answer) = &mut self.run.answer
            && answer.get(SECURE_ANSWER).is_some_and(|mark| mark == true)
        {
            hide_answer(answer);
        }
        self
    }
}

/// Blots out what a stored answer says, but for its status.
pub fn hide_answer(answer: &mut Value) {
    for key in ["headers", "body"] {
        if let Some(value) = answer.get_mut(key).filter(|value| !value.is_null()) {
            *value = Value::from(MASK);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::Failure;

    #[test]
    fn only_what_is_secure_is_blotted_out() {
        let io = |secure| StepIo {
            inputs: Some(json!({"a": 1})),
            outputs: Some(json!("x")),
            error: Some(Failure::terminal("code", "said Ada")),
            secure,
            ..StepIo::default()
        };
        let mut open = io(Secure::default());
        open.hide();
        assert_eq!(open, io(Secure::default()));
        let mut shut = io(Secure { inputs: true, outputs: false, error: true });
        shut.hide();
        assert_eq!((shut.inputs, shut.outputs), (Some(json!(MASK)), Some(json!("x"))));
        assert_eq!(shut.error.map(|failure| (failure.code, failure.message)), Some(("code".into(), MASK.into())));
    }

    #[test]
    fn an_answer_keeps_its_status() {
        let mut answer = json!({"status": 200, "headers": [["x", "y"]], "body": {"token": "t"}});
        hide_answer(&mut answer);
        assert_eq!(answer, json!({"status": 200, "headers": MASK, "body": MASK}));
    }
}
