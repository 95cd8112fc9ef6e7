//! `--proxy`: where connections are made for us, and by which protocol. What a proxy can't carry does not happen: see
//! [`Outside`](super::net::Outside).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use data_encoding::BASE64;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;
use url::Url;

/// The longest answer of an HTTP proxy that is read, in bytes, up to the empty line.
const MAX_ANSWER: usize = 8 * 1024;

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    protocol: Protocol,
    /// A name or an address, without brackets.
    host: String,
    port: u16,
    user: Option<(String, String)>,
}

/// What a proxy speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    /// RFC 1928, and RFC 1929 for user and password.
    Socks5,
    /// CONNECT (RFC 9110, section 9.3.6).
    Http,
}

impl Proxy {
    /// Its host and port.
    pub fn place(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whether that is how it is called.
    pub fn is_at(&self, host: &str) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }

    /// Has it connect to `to`. `stream` leads to the proxy.
    ///
    /// # Errors
    /// If it refuses, or speaks something else; in words.
    pub async fn connect(&self, mut stream: TcpStream, to: SocketAddr) -> io::Result<TcpStream> {
        match self.protocol {
            Protocol::Socks5 => {
                let connected = match &self.user {
                    None => Socks5Stream::connect_with_socket(stream, to).await,
                    Some((name, password)) => {
                        Socks5Stream::connect_with_password_and_socket(stream, to, name, password).await
                    }
                };
                let connected = connected.map_err(|error| io::Error::other(format!("the proxy: {error}")))?;
                Ok(connected.into_inner())
            }
            Protocol::Http => {
                stream.write_all(self.request(to).as_bytes()).await?;
                read_answer(&mut stream).await?;
                Ok(stream)
            }
        }
    }

    fn request(&self, to: SocketAddr) -> String {
        let user = self.user.as_ref().map(|(name, password)| {
            let credentials = BASE64.encode(format!("{name}:{password}").as_bytes());
            format!("Proxy-Authorization: Basic {credentials}\r\n")
        });
        format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{}\r\n", user.unwrap_or_default())
    }

    /// For HTTP requests through it. It finds out itself where names lead.
    ///
    /// # Errors
    /// If reqwest does not take it.
    pub fn for_http(&self) -> reqwest::Result<reqwest::Proxy> {
        let scheme = match self.protocol {
            Protocol::Socks5 => "socks5h",
            Protocol::Http => "http",
        };
        let proxy = reqwest::Proxy::all(format!("{scheme}://{}", self.authority()))?;
        Ok(match &self.user {
            Some((name, password)) => proxy.basic_auth(name, password),
            None => proxy,
        })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The status line says whether it worked; not a byte is taken of what follows the empty line.
async fn read_answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_ANSWER {
            return Err(io::Error::other("the proxy: an endless answer"));
        }
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) => return Err(io::Error::other("the proxy hung up")),
        }
    }
    let first = String::from_utf8_lossy(&answer);
    let first = first.lines().next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..)).unwrap_or_default();
    if status.starts_with('2') {
        return Ok(());
    }
    let shown: String = first.chars().filter(|c| !c.is_control()).take(100).collect();
    Err(io::Error::other(format!("the proxy: {shown}")))
}

/// Without the password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Socks5 => "socks5",
            Protocol::Http => "http",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text itself is not repeated: it may hold a password.
        let form = "it is socks5://[USER:PASSWORD@]HOST:PORT or http://…";
        let url = Url::parse(text).map_err(|error| format!("{error}; {form}"))?;
        let (protocol, usual_port) = match url.scheme() {
            "socks5" | "socks5h" => (Protocol::Socks5, 1080),
            "http" => (Protocol::Http, 80),
            other => return Err(format!("{other} is no protocol of proxies; {form}")),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| form.to_owned())?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let decoded =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = (!url.username().is_empty())
            .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
        Ok(Self { protocol, host: host.to_owned(), port: url.port().unwrap_or(usual_port), user })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn what_is_typed_is_read_and_shown_without_its_password() {
        for (typed, shown) in [
            ("socks5://proxy.example:9050", "socks5://proxy.example:9050"),
            ("socks5h://127.0.0.1", "socks5://127.0.0.1:1080"),
            ("http://me:se%20cret@[::1]:3128/", "http://[::1]:3128"),
            ("http://proxy.example", "http://proxy.example:80"),
        ] {
            let proxy: Proxy = typed.parse().unwrap();
            assert_eq!(proxy.to_string(), shown);
            assert!(!format!("{proxy:?}").contains("cret"));
            assert!(proxy.for_http().is_ok());
        }
        let with_user: Proxy = "http://me:se%20cret@proxy.example".parse().unwrap();
        assert_eq!(with_user.user, Some(("me".into(), "se cret".into())));
        for wrong in ["", "proxy:1080", "ftp://proxy:1", "socks5://", "socks5://:1080", "http://h:99999"] {
            assert!(wrong.parse::<Proxy>().is_err(), "{wrong}");
        }
    }

    /// How a connection ends through a proxy that answers so, and what the proxy was asked.
    async fn asked(typed: &str, answer: &'static [u8]) -> (io::Result<TcpStream>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap() > 0 {}
            stream.write_all(answer).await.unwrap();
            request
        });
        let to = "203.0.113.7:6881".parse().unwrap();
        let proxy: Proxy = typed.parse().unwrap();
        (proxy.connect(stream, to).await, answering.await.unwrap())
    }

    #[tokio::test]
    async fn an_http_proxy_is_asked_to_connect() {
        let (stream, request) =
            asked("http://me:pass@p", b"HTTP/1.1 200 Connection established\r\nA: b\r\n\r\nhello").await;
        assert_eq!(
            String::from_utf8(request).unwrap(),
            "CONNECT 203.0.113.7:6881 HTTP/1.1\r\nHost: 203.0.113.7:6881\r\nProxy-Authorization: Basic bWU6cGFzcw==\r\n\r\n"
        );
        let mut rest = Vec::new();
        stream.unwrap().read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"hello");
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_says_so() {
        for (answer, said) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "407 Proxy"),
            (b"HTTP/1.1 200", "hung up"),
            (b"SSH-2.0-x\r\n\r\n", "SSH-2.0-x"),
            (&[b'x'; 9_000], "endless"),
        ] {
            let error = asked("http://p", answer).await.0.unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
