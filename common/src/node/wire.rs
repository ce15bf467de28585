//! The sockets of a node: links to peers, over TCP or within the process, and the client port.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc::Receiver;

use super::setup::{NodeConfig, NodeError};
use crate::membership::Membership;
use crate::metrics::Counters;
use crate::protocol::Protocol;
use crate::transport::{
    ClientEvent, ClientListener, ClientPortConfig, InProcess, Network, PeerEvent, Session, Switchboard, Transport,
    TransportConfig, TransportError,
};

/// The links to the peers, of either kind.
pub(super) enum Wire {
    Tcp(Box<Transport>),
    InProcess(InProcess),
}

impl Wire {
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(transport) => transport.local_addr(),
            Self::InProcess(_) => None,
        }
    }

    pub(super) async fn shutdown(self) {
        if let Self::Tcp(transport) = self {
            transport.shutdown().await;
        }
    }
}

impl Network for Wire {
    fn send<H: Serialize + ?Sized>(&mut self, to: Session, channel: u8, header: &H, body: &Bytes) {
        match self {
            Self::Tcp(wire) => wire.send(to, channel, header, body),
            Self::InProcess(wire) => wire.send(to, channel, header, body),
        }
    }

    fn flush(&mut self) {
        match self {
            Self::Tcp(wire) => wire.flush(),
            Self::InProcess(wire) => wire.flush(),
        }
    }

    fn members(&mut self, membership: &Membership) {
        match self {
            Self::Tcp(wire) => wire.members(membership),
            Self::InProcess(wire) => wire.members(membership),
        }
    }

    fn disconnect(&mut self, session: Session, reason: &'static str) {
        match self {
            Self::Tcp(wire) => wire.disconnect(session, reason),
            Self::InProcess(wire) => wire.disconnect(session, reason),
        }
    }
}

pub(super) async fn listen_for_peers<P: Protocol>(
    config: &NodeConfig<P>,
    listener: Option<TcpListener>,
    switchboard: Option<Switchboard>,
    counters: &Arc<Counters>,
) -> Result<(Wire, Receiver<PeerEvent>), NodeError> {
    let sources = P::sources(&config.protocol);
    if let Some(switchboard) = switchboard {
        let (wire, events) = switchboard.join(config.id, config.member, &sources, Arc::clone(counters));
        return Ok((Wire::InProcess(wire), events));
    }
    let listen = config.peer_listen.clone().or_else(|| config.voters.get(&config.id).cloned());
    let transport = TransportConfig {
        cluster: config.cluster.clone(),
        protocol: P::NAME.to_owned(),
        id: config.id,
        member: config.member,
        listen: listen.clone(),
        voters: config.voters.clone(),
        sources: sources.into_iter().map(|id| (id, config.observers.get(&id).cloned())).collect(),
        limits: config.peers,
    };
    let (transport, events) = match listener {
        None => Transport::bind(transport, Arc::clone(counters)).await?,
        Some(listener) => {
            let listener = adopt(listener, listen.unwrap_or_default())?;
            Transport::start(transport, Some(listener), Arc::clone(counters))?
        }
    };
    Ok((Wire::Tcp(Box::new(transport)), events))
}

pub(super) async fn listen_for_clients<P: Protocol>(
    config: &NodeConfig<P>,
    listener: Option<TcpListener>,
    counters: &Arc<Counters>,
) -> Result<(ClientListener, Receiver<ClientEvent>), NodeError> {
    let port = ClientPortConfig {
        cluster: config.cluster.clone(),
        protocol: P::NAME.to_owned(),
        node: config.id,
        listen: config.client_listen.clone(),
        limits: config.clients,
    };
    Ok(match listener {
        None => ClientListener::bind(port, Arc::clone(counters)).await?,
        Some(listener) => {
            let listener = adopt(listener, port.listen.clone())?;
            ClientListener::start(port, listener, Arc::clone(counters))?
        }
    })
}

/// A listener of the standard library as one of tokio's.
fn adopt(listener: TcpListener, addr: String) -> Result<tokio::net::TcpListener, TransportError> {
    let adopted = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    adopted.map_err(|source| TransportError::Bind { addr, source })
}
