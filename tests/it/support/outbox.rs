//! A courier that delivers to the test.

use oncegate::core::courier::{
    Courier, Delivered, Delivering, DeliveryError, GatewayStatus, Undeliverable,
};
use oncegate::model::message::{Medium, Message};
use tokio::sync::mpsc;

/// Takes every message.
pub(crate) struct Outbox(mpsc::UnboundedSender<Message>);

/// Where they arrive.
pub(crate) struct Inbox(mpsc::UnboundedReceiver<Message>);

/// An empty one.
pub(crate) fn outbox() -> (Outbox, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Outbox(sender), Inbox(receiver))
}

impl Inbox {
    /// The next message: medium, address, code.
    pub(crate) async fn next(&mut self) -> (Medium, String, String) {
        let message = self.0.recv().await.expect("a courier");
        let code = message.code.expect("a code").expose().to_owned();
        let flat = message.text.expose().replace('-', "");
        assert!(flat.contains(&code), "the text carries the code");
        (message.medium, message.to, code)
    }

    /// The text of the next message.
    pub(crate) async fn text(&mut self) -> String {
        let message = self.0.recv().await.expect("a courier");
        message.text.expose().to_owned()
    }

    /// Whether nothing has arrived.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

impl Courier for Outbox {
    fn check(&self, _: Medium, _: &str) -> Result<(), Undeliverable> {
        Ok(())
    }

    fn deliver(&self, message: Message) -> Delivering<'_, Result<Delivered, DeliveryError>> {
        self.0.send(message).expect("the test listens");
        let delivered = Delivered {
            gateway: "outbox".to_owned(),
            reference: None,
        };
        Box::pin(async move { Ok(delivered) })
    }

    fn gateways(&self) -> Vec<GatewayStatus> {
        Vec::new()
    }
}
