//! The `delay` action.

/// The `delay` action.
#[derive(Debug, Clone, Copy)]
pub struct Delay;

impl super::Action for Delay {
    fn spec(&self) -> crate::flow::catalogue::ActionSpec {
        unimplemented!()
    }
    fn start(&self, _: &serde_json::Value, _: &super::StartContext) -> Result<super::Next, crate::run::Failure> {
        unimplemented!()
    }
}
