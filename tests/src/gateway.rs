//! A router that maps ports, as far as a client can tell: NAT-PMP (RFC 6886), or UPnP's internet gateway device.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use crate::netns::Host;

/// How a router is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    /// NAT-PMP; of PCP it says that it does not know it.
    NatPmp,
    /// UPnP.
    Upnp,
}

/// What it was asked to do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Asked {
    /// Map a port of ours.
    Map {
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// Ours.
        internal: u16,
    },
    /// Forget that.
    Unmap {
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// Ours, or in UPnP the router's.
        port: u16,
    },
}

/// Behind the router, the port of a host has a number that is so much higher.
pub const SHIFT: u16 = 1000;

/// The port of NAT-PMP.
const NAT_PMP: u16 = 5351;

/// The group and the port at which UPnP searches.
const SSDP: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 255, 250), 1900);

/// Where the device's description is.
const HTTP: u16 = 5000;

/// A running router. Its threads end with the test's process.
#[derive(Debug)]
pub struct Gateway {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Gateway {
    /// Makes a host a router.
    ///
    /// # Panics
    /// If its ports are taken.
    pub fn start(host: &Host, speaks: Speaks) -> Self {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let IpAddr::V4(address) = host.address() else { panic!("hosts have IPv4 addresses") };
        let note = {
            let asked = Arc::clone(&asked);
            move |what| asked.lock().unwrap_or_else(PoisonError::into_inner).push(what)
        };
        match speaks {
            Speaks::NatPmp => {
                let socket = host.run(|| UdpSocket::bind((address, NAT_PMP)).expect("a free port"));
                std::thread::spawn(move || nat_pmp(&socket, note));
            }
            Speaks::Upnp => {
                let (ssdp, http) = host.run(|| {
                    let ssdp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, SSDP.1)).expect("a free port");
                    ssdp.join_multicast_v4(&SSDP.0, &address).expect("a group");
                    (ssdp, TcpListener::bind((address, HTTP)).expect("a free port"))
                });
                std::thread::spawn(move || answer_searches(&ssdp, address));
                std::thread::spawn(move || {
                    for stream in http.incoming() {
                        // Whoever hangs up has what it wanted.
                        let _ = stream.and_then(|stream| serve(stream, &note));
                    }
                });
            }
        }
        Self { asked }
    }

    /// What it was asked so far, in order, without repetitions.
    pub fn asked(&self) -> Vec<Asked> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        asked.dedup();
        asked
    }
}

fn nat_pmp(socket: &UdpSocket, note: impl Fn(Asked)) {
    let mut packet = [0; 1100];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        let answer = match &packet[..length] {
            // The external address.
            [0, 0] => [&[0, 128, 0, 0, 0, 0, 0, 9][..], &[203, 0, 113, 7]].concat(),
            [0, op @ (1 | 2), _, _, high, low, _, _, lifetime @ ..] => {
                let protocol = if *op == 1 { "UDP" } else { "TCP" };
                let internal = u16::from_be_bytes([*high, *low]);
                let external = if lifetime == [0; 4] {
                    note(Asked::Unmap { protocol, port: internal });
                    0
                } else {
                    note(Asked::Map { protocol, internal });
                    internal + SHIFT
                };
                let ports = [internal.to_be_bytes(), external.to_be_bytes()].concat();
                [&[0, 128 + op, 0, 0, 0, 0, 0, 9][..], &ports, lifetime].concat()
            }
            [_, op, ..] => vec![0, 128 | op, 0, 1, 0, 0, 0, 9],
            _ => continue,
        };
        let _ = socket.send_to(&answer, from);
    }
}

fn answer_searches(socket: &UdpSocket, address: Ipv4Addr) {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nEXT:\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
        USN: uuid:1::urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: http://{address}:{HTTP}/device.xml\r\n\r\n"
    );
    let mut packet = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        if packet[..length].starts_with(b"M-SEARCH") {
            let _ = socket.send_to(answer.as_bytes(), from);
        }
    }
}

const DEVICE: &str = r#"<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
<SCPDURL>/scpd.xml</SCPDURL><controlURL>/control</controlURL><eventSubURL>/event</eventSubURL></service></serviceList></device></root>"#;

const ARGUMENTS: [(&str, &[&str]); 3] = [
    (
        "AddPortMapping",
        &[
            "NewRemoteHost",
            "NewExternalPort",
            "NewProtocol",
            "NewInternalPort",
            "NewInternalClient",
            "NewEnabled",
            "NewPortMappingDescription",
            "NewLeaseDuration",
        ],
    ),
    ("DeletePortMapping", &["NewRemoteHost", "NewExternalPort", "NewProtocol"]),
    ("GetExternalIPAddress", &[]),
];

fn actions() -> String {
    let action = |(name, arguments): &(&str, &[&str])| {
        let arguments = arguments
            .iter()
            .map(|argument| format!("<argument><name>{argument}</name><direction>in</direction></argument>"));
        let arguments: String = arguments.collect();
        format!("<action><name>{name}</name><argumentList>{arguments}</argumentList></action>")
    };
    let actions: String = ARGUMENTS.iter().map(action).collect();
    format!(
        r#"<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0"><actionList>{actions}</actionList></scpd>"#
    )
}

fn serve(stream: TcpStream, note: &impl Fn(Asked)) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body);
    let answer = match first.split(' ').nth(1) {
        Some("/device.xml") => DEVICE.to_owned(),
        Some("/scpd.xml") => actions(),
        _ => control(&body, note),
    };
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    )
}

/// It gives the port that it is asked for.
fn control(body: &str, note: &impl Fn(Asked)) -> String {
    let value = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        rest.split_once('<').map(|(value, _)| value)
    };
    let port = |name: &str| value(name).and_then(|port| port.parse().ok()).unwrap_or(0);
    let protocol = if value("NewProtocol") == Some("UDP") { "UDP" } else { "TCP" };
    let action = if body.contains("AddPortMapping") {
        note(Asked::Map { protocol, internal: port("NewInternalPort") });
        "AddPortMapping"
    } else {
        note(Asked::Unmap { protocol, port: port("NewExternalPort") });
        "DeletePortMapping"
    };
    format!(
        r#"<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><u:{action}Response xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1"></u:{action}Response></s:Body></s:Envelope>"#
    )
}
