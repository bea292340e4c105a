//! The embedded record store.

/// The embedded record store.
#[derive(Debug, Clone, Copy)]
pub struct Records;

impl super::Connector for Records {
    fn spec(&self) -> crate::flow::catalogue::ConnectorSpec {
        unimplemented!()
    }
    fn start(
        &self,
        _: &super::Operation,
        _: &super::OpContext<'_>,
    ) -> Result<crate::outbound::Effect, crate::run::Failure> {
        unimplemented!()
    }
    fn on_reply(
        &self,
        _: &super::Operation,
        _: &super::OpContext<'_>,
        _: u32,
        _: crate::outbound::Reply,
    ) -> super::Progress {
        unimplemented!()
    }
    fn simulate(
        &self,
        _: &super::Operation,
        _: &super::OpContext<'_>,
        _: &crate::outbound::Effect,
    ) -> crate::outbound::Reply {
        unimplemented!()
    }
}
