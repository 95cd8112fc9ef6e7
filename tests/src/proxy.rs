//! A proxy, SOCKS5 (RFC 1928, 1929) or HTTP CONNECT, that writes down where it was asked to go, and can die.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// See the module.
#[derive(Debug)]
pub struct TestProxy {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Every place that it was asked for, `host:port`.
    asked: Mutex<Vec<String>>,
    /// Both ends of what it carries; `None` once it is dead.
    open: Mutex<Option<Vec<TcpStream>>>,
    carried: AtomicU64,
    user: Option<(String, String)>,
}

impl TestProxy {
    /// Listens on loopback; wants this user and password, if given.
    ///
    /// # Panics
    /// If there is no port.
    pub fn start(user: Option<(&str, &str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let addr = listener.local_addr().expect("it is bound");
        let user = user.map(|(name, password)| (name.to_owned(), password.to_owned()));
        let state = Arc::new(State { open: Mutex::new(Some(vec![])), user, ..State::default() });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                if !state.keep(&stream) {
                    break;
                }
                std::thread::spawn(move || {
                    let _ = serve(stream, &state);
                });
            }
        });
        Self { addr, state }
    }

    /// Every place that it was asked for so far, `host:port`, names as they were said.
    ///
    /// # Panics
    /// If a connection of it has.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().expect("no connection panics").clone()
    }

    /// Bytes that it has carried towards whoever asked.
    pub fn carried(&self) -> u64 {
        self.state.carried.load(Ordering::Relaxed)
    }

    /// Breaks every connection and takes no more.
    ///
    /// # Panics
    /// If a connection of it has.
    pub fn die(&self) {
        let open = self.state.open.lock().expect("no connection panics").take();
        for stream in open.into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the listener, which goes.
        let _ = TcpStream::connect(self.addr);
    }
}

impl State {
    /// Whether the proxy lives.
    fn keep(&self, stream: &TcpStream) -> bool {
        let mut open = self.open.lock().expect("no connection panics");
        match (&mut *open, stream.try_clone()) {
            (Some(open), Ok(stream)) => {
                open.push(stream);
                true
            }
            _ => false,
        }
    }
}

fn serve(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let first = read::<1>(&mut stream)?[0];
    let place = if first == 5 { socks5(&mut stream, state)? } else { http(first, &mut stream, state)? };
    let Some(place) = place else { return Ok(()) };
    state.asked.lock().expect("no connection panics").push(place.clone());
    let Ok(target) = TcpStream::connect(place.as_str()) else {
        return stream.write_all(if first == 5 {
            &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]
        } else {
            b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
        });
    };
    stream.write_all(if first == 5 {
        &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    } else {
        b"HTTP/1.1 200 OK\r\n\r\n"
    })?;
    if !state.keep(&target) {
        return Ok(());
    }
    let (mut up, mut to) = (stream.try_clone()?, target.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut up, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut chunk) = (target, vec![0; 64 * 1024]);
    loop {
        match from.read(&mut chunk)? {
            0 => return stream.shutdown(Shutdown::Write),
            length => {
                state.carried.fetch_add(length as u64, Ordering::Relaxed);
                stream.write_all(&chunk[..length])?;
            }
        }
    }
}

fn socks5(stream: &mut TcpStream, state: &State) -> std::io::Result<Option<String>> {
    let mut methods = vec![0; read::<1>(stream)?[0].into()];
    stream.read_exact(&mut methods)?;
    match &state.user {
        None => stream.write_all(&[5, 0])?,
        Some((name, password)) => {
            if !methods.contains(&2) {
                stream.write_all(&[5, 0xff])?;
                return Ok(None);
            }
            stream.write_all(&[5, 2])?;
            read::<1>(stream)?;
            let said = [read_text(stream)?, read_text(stream)?];
            let right = said == [name.as_str(), password.as_str()];
            stream.write_all(&[1, u8::from(!right)])?;
            if !right {
                return Ok(None);
            }
        }
    }
    let [_version, _connect, _reserved, kind] = read(stream)?;
    let host = match kind {
        1 => std::net::Ipv4Addr::from(read::<4>(stream)?).to_string(),
        4 => format!("[{}]", std::net::Ipv6Addr::from(read::<16>(stream)?)),
        _ => read_text(stream)?,
    };
    Ok(Some(format!("{host}:{}", u16::from_be_bytes(read(stream)?))))
}

fn http(first: u8, stream: &mut TcpStream, state: &State) -> std::io::Result<Option<String>> {
    let mut head = vec![first];
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read::<1>(stream)?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    // The credentials as curl would write them: "me:secret".
    if state.user.is_some() && !head.to_ascii_lowercase().contains("proxy-authorization: basic ") {
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")?;
        return Ok(None);
    }
    Ok(head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).map(str::to_owned))
}

fn read<const N: usize>(stream: &mut impl Read) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A length, and so many bytes.
fn read_text(stream: &mut impl Read) -> std::io::Result<String> {
    let mut text = vec![0; read::<1>(stream)?[0].into()];
    stream.read_exact(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
