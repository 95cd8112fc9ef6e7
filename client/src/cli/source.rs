//! What a SOURCE on the command line names: a .torrent (path, standard input, URL), a magnet or an info hash.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use torrent_format::metainfo::MAX_TORRENT_LENGTH;
use torrent_format::{Info, InfoHashes, Magnet, Metainfo};

use super::Context;
use super::endpoint::url_host;
use super::error::CliError;
use super::output::{printable, without_os_code};

/// The longest .torrent that is read, in bytes, wherever it is from: one more and it is known to be too long.
const MAX_TORRENT: u64 = MAX_TORRENT_LENGTH as u64;

/// How long a URL may take to answer, and how long its body may pause.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// What a SOURCE turned out to be.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A .torrent.
    Torrent(Box<Metainfo>),
    /// A magnet, or a bare info hash.
    Magnet(Box<Magnet>),
}

impl Source {
    /// Which torrent.
    pub(crate) fn hashes(&self) -> InfoHashes {
        match self {
            Self::Torrent(metainfo) => metainfo.info.hashes(),
            Self::Magnet(magnet) => magnet.hashes,
        }
    }

    /// Its info, if it says.
    pub(crate) fn info(&self) -> Option<Info> {
        match self {
            Self::Torrent(metainfo) => Some(metainfo.info.clone()),
            Self::Magnet(_) => None,
        }
    }

    /// As a magnet.
    pub(crate) fn to_magnet(&self) -> Magnet {
        match self {
            Self::Torrent(metainfo) => Magnet::from_metainfo(metainfo),
            Self::Magnet(magnet) => (**magnet).clone(),
        }
    }

    /// What people call it, fit for a terminal.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Torrent(metainfo) => printable(metainfo.info.name()).into_owned(),
            Self::Magnet(magnet) => match &magnet.name {
                Some(name) => printable(name).into_owned(),
                None => magnet.hashes.to_string(),
            },
        }
    }

    /// Its trackers in tiers. Those of a magnet are a tier each: the order is all that it says.
    pub(crate) fn trackers(&self) -> Vec<Vec<String>> {
        match self {
            Self::Torrent(metainfo) => metainfo.trackers.clone(),
            Self::Magnet(magnet) => magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
        }
    }

    /// The nodes of the DHT that it names, `host:port` (BEP 5).
    pub(crate) fn nodes(&self) -> Vec<String> {
        let nodes = match self {
            Self::Torrent(metainfo) => metainfo.nodes.as_slice(),
            Self::Magnet(_) => &[],
        };
        nodes.iter().map(|(host, port)| format!("{}:{port}", url_host(host))).collect()
    }
}

/// What a SOURCE gives, unread.
#[derive(Debug)]
pub(crate) enum Material {
    /// What should be a .torrent.
    Bytes {
        /// Where from.
        input: String,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// A magnet, or a bare info hash.
    Magnet(Box<Magnet>),
}

/// Finds out what `typed` names, and reads it.
pub(crate) async fn resolve(cx: &Context, typed: &OsStr) -> Result<Source, CliError> {
    match find(cx, typed).await? {
        Material::Magnet(magnet) => Ok(Source::Magnet(magnet)),
        Material::Bytes { input, bytes } => parse_torrent(input, &bytes),
    }
}

/// Finds out what `typed` names.
pub(crate) async fn find(cx: &Context, typed: &OsStr) -> Result<Material, CliError> {
    let Some(text) = typed.to_str().map(trimmed) else {
        return read_path(Path::new(typed)).await;
    };
    if text.is_empty() {
        return Err(CliError::Usage("the source is empty".into()));
    }
    if text == "-" {
        return read_standard_input(cx).await;
    }
    if let Some(link) = from_link(&text) {
        return link;
    }
    if has_scheme(&text, "http:") || has_scheme(&text, "https:") {
        let bytes = fetch(cx, &text).await?;
        // A directory answers with a magnet where one is asked for.
        let link = std::str::from_utf8(&bytes).ok().and_then(|body| from_link(&trimmed(body)));
        return link.unwrap_or(Ok(Material::Bytes { bytes, input: text }));
    }
    // A name may begin or end with a blank after all.
    let exact = Path::new(typed);
    let path = if exact.exists() { exact } else { Path::new(text.strip_prefix("file://").unwrap_or(&text)) };
    match text.parse::<InfoHashes>() {
        Ok(hash) if !path.exists() => Ok(Material::Magnet(Box::new(Magnet::new(hash)))),
        _ => read_path(path).await,
    }
}

/// Reads what is to be edited: a file, or standard input, but nothing that a path may also stand for.
pub(crate) async fn read_torrent(cx: &Context, path: &Path) -> Result<Source, CliError> {
    let material =
        if path == Path::new("-") { read_standard_input(cx).await? } else { read_path(path).await? };
    match material {
        Material::Magnet(magnet) => Ok(Source::Magnet(magnet)),
        Material::Bytes { input, bytes } => parse_torrent(input, &bytes),
    }
}

/// Runs what may wait for the disk or for somebody to type on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CliError> {
    let joined = tokio::task::spawn_blocking(job).await;
    joined.map_err(|error| CliError::System { action: "a thread failed", source: error.into() })
}

/// Whether this file is a .torrent, rather than something to make one of.
pub(crate) fn is_torrent_file(path: &Path) -> bool {
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("torrent"));
    path.is_file() && (named || begins_like_a_torrent(path) && reads_as_torrent(path))
}

fn begins_like_a_torrent(path: &Path) -> bool {
    let mut head = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head[0] == b'd' && head[1].is_ascii_digit()
}

fn reads_as_torrent(path: &Path) -> bool {
    match read_file(path) {
        Ok(Material::Bytes { input, bytes }) => parse_torrent(input, &bytes).is_ok(),
        _ => false,
    }
}

/// Apart from the signals, which a FIFO that nobody writes to must not hold up.
async fn read_path(path: &Path) -> Result<Material, CliError> {
    let path = path.to_owned();
    blocking(move || read_file(&path)).await?
}

fn read_file(path: &Path) -> Result<Material, CliError> {
    let input = path.display().to_string();
    let read = || -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        read_limited(file)
    };
    match read() {
        Ok(bytes) => Ok(Material::Bytes { input, bytes }),
        Err(source) => Err(CliError::Read { input, source }),
    }
}

async fn read_standard_input(cx: &Context) -> Result<Material, CliError> {
    let input = "standard input".to_owned();
    let stdin = cx.take_stdin();
    let bytes = blocking(move || read_limited(stdin))
        .await?
        .map_err(|source| CliError::Read { input: input.clone(), source })?;
    if bytes.is_empty() {
        let hint = Some("pipe a .torrent or the text of a magnet into it".into());
        return Err(CliError::Input { input, problem: "nothing was read".into(), hint });
    }
    if let Ok(text) = std::str::from_utf8(&bytes).map(trimmed) {
        if let Some(link) = from_link(&text) {
            return link;
        }
        if let Ok(hash) = text.parse::<InfoHashes>() {
            return Ok(Material::Magnet(Box::new(Magnet::new(hash))));
        }
    }
    Ok(Material::Bytes { input, bytes })
}

fn from_link(text: &str) -> Option<Result<Material, CliError>> {
    has_scheme(text, "magnet:").then(|| {
        text.parse().map(|magnet| Material::Magnet(Box::new(magnet))).map_err(|error| CliError::Input {
            input: named(text),
            problem: format!("{error}"),
            // With an & in it, no shell has cut it.
            hint: (!text.contains('&')).then(|| "quote it: the shell cuts an unquoted link at each &".into()),
        })
    })
}

/// A link as an error names it: what comes on standard input may be megabytes long.
fn named(link: &str) -> String {
    const LONGEST: usize = 200;
    let start = &link[..link.floor_char_boundary(LONGEST)];
    format!("{}{}", printable(start), if start.len() < link.len() { "…" } else { "" })
}

pub(crate) fn parse_torrent(input: String, bytes: &[u8]) -> Result<Source, CliError> {
    match Metainfo::from_bytes(bytes) {
        Ok(metainfo) => Ok(Source::Torrent(Box::new(metainfo))),
        Err(_) if bytes.trim_ascii_start().first() == Some(&b'<') => Err(CliError::Input {
            input,
            problem: "this is a web page, not a torrent".into(),
            hint: Some("open it in a browser and copy the link of the .torrent itself, or the magnet".into()),
        }),
        Err(source) => Err(CliError::Torrent { input, source }),
    }
}

fn has_scheme(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme))
}

/// Without what clings to a pasted link: quotes, white space, `&amp;` for `&`.
fn trimmed(text: &str) -> String {
    let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`'));
    if has_scheme(text, "magnet:") || has_scheme(text, "http") {
        text.replace("&amp;", "&")
    } else {
        text.to_owned()
    }
}

fn read_limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_TORRENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TORRENT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large for a .torrent"));
    }
    Ok(bytes)
}

async fn fetch(cx: &Context, url: &str) -> Result<Vec<u8>, CliError> {
    let failed = |error: reqwest::Error| CliError::Network { what: url.to_owned(), problem: cause(&error) };
    let client = super::net::http_client(cx, FETCH_TIMEOUT)?;
    // The page of a torrent in a directory is its .torrent for whoever asks for that.
    let request = client.get(url).header(reqwest::header::ACCEPT, "application/x-bittorrent, */*;q=0.5");
    let mut response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > MAX_TORRENT {
            let problem = format!("longer than {}, which no .torrent is", super::value::Size(MAX_TORRENT));
            return Err(CliError::Input { input: url.to_owned(), problem, hint: None });
        }
    }
    Ok(bytes)
}

/// The last cause: "connection refused" says more than "error sending request".
pub(crate) fn cause(error: &reqwest::Error) -> String {
    if let Some(status) = error.status() {
        return format!("the server answers {status}");
    }
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    without_os_code(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clings_to_a_pasted_link_is_trimmed_away() {
        for (pasted, link) in [
            (" 'magnet:?xt=a&amp;tr=b' \n", "magnet:?xt=a&tr=b"),
            ("\"MAGNET:?xt=a\"", "MAGNET:?xt=a"),
            ("<http://a/?b=c&amp;d=e>", "http://a/?b=c&d=e"),
            ("file&amp;name", "file&amp;name"),
        ] {
            assert_eq!(trimmed(pasted), link);
        }
    }
}
