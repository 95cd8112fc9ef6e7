//! What the kernel and hyper can do: servers that answer without a look at what was asked. Each runs as a process of its own.

use std::convert::Infallible;
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use tokio::net::TcpListener;

/// Packets a call.
const BATCH: usize = 64;

/// Peers in an answer: as many as the load asks for.
const PEERS: usize = 50;

/// Answers every connect and announce at once: one `recvmmsg` and one `sendmmsg` for all packets that are there.
pub(crate) fn udp(address: SocketAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    println!("{}", socket.local_addr()?);
    let mut requests = vec![[0u8; 256]; BATCH];
    let mut replies = vec![[0u8; 20 + 6 * PEERS]; BATCH];
    let mut receiving = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut sending = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut lengths = [0; BATCH];
    let mut addresses = [None; BATCH];
    loop {
        let mut received = 0;
        {
            let mut slices: Vec<_> = requests.iter_mut().map(|request| [IoSliceMut::new(request)]).collect();
            let flags = MsgFlags::MSG_WAITFORONE;
            let Ok(messages) = recvmmsg(socket.as_raw_fd(), &mut receiving, slices.iter_mut(), flags, None)
            else {
                continue;
            };
            for message in messages {
                lengths[received] = message.bytes;
                addresses[received] = message.address;
                received += 1;
            }
        }
        for (place, reply) in replies.iter_mut().enumerate().take(received) {
            let request = &requests[place];
            // The action and the transaction; in an announce's answer an interval, in a connect's an id.
            reply[..8].copy_from_slice(&request[8..16]);
            reply[8..12].copy_from_slice(&1800u32.to_be_bytes());
            lengths[place] = if lengths[place] == 16 { 16 } else { reply.len() };
        }
        let slices: Vec<_> =
            replies.iter().zip(&lengths).map(|(reply, &length)| [IoSlice::new(&reply[..length])]).collect();
        // As a tracker does: who can't be reached is not told.
        let _ = sendmmsg(
            socket.as_raw_fd(),
            &mut sending,
            slices[..received].iter(),
            &addresses[..received],
            [],
            MsgFlags::empty(),
        );
    }
}

/// A bare hyper server, one thread, that answers whatever is asked with the bytes of an announce's answer.
pub(crate) fn http(address: SocketAddr) -> std::io::Result<()> {
    let mut body =
        b"d8:completei123e10:downloadedi0e10:incompletei456e8:intervali1800e12:min intervali60e5:peers300:"
            .to_vec();
    body.resize(body.len() + 6 * PEERS, 7);
    body.push(b'e');
    let body = Bytes::from(body);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            // Only saves time; without it there is still an answer.
            let _ = stream.set_nodelay(true);
            let body = body.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |_: Request<Incoming>| {
                    let body = body.clone();
                    async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
                });
                // A connection's end is its own business.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    })
}
