//! Changes sent as they stand, without the client's own checks.

use lvs::ipvs::{Change, Message};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

use crate::kernels::family;
use crate::lab::Lab;

/// A socket inside a namespace.
pub(crate) struct Unchecked {
    socket: Socket,
    family: u16,
}

impl Unchecked {
    pub(crate) fn connect(lab: &Lab) -> Self {
        Self { socket: lab.run(|| Socket::new(NETLINK_GENERIC)).unwrap(), family: family(lab) }
    }

    /// Returns the error number if the kernel refuses the change.
    pub(crate) fn change(&self, change: Change) -> Result<(), i32> {
        let mut request = GenlMessage::from_payload(Message::from(change));
        request.set_resolved_family_id(self.family);
        let mut request = NetlinkMessage::from(request);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).unwrap();
        let reply = self.socket.recv_from_full().unwrap().0;
        match NetlinkMessage::<GenlMessage<Message>>::deserialize(&reply).unwrap().payload {
            NetlinkPayload::Error(error) => error.code.map_or(Ok(()), |code| Err(-code.get())),
            other => panic!("{other:?}"),
        }
    }
}
