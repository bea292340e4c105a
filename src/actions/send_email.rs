//! The `send_email` action.

/// The `send_email` action.
#[derive(Debug, Clone, Copy)]
pub struct SendEmail;

impl super::Action for SendEmail {
    fn spec(&self) -> crate::flow::catalogue::ActionSpec {
        unimplemented!()
    }
    fn start(&self, _: &serde_json::Value, _: &super::StartContext) -> Result<super::Next, crate::run::Failure> {
        unimplemented!()
    }
}
