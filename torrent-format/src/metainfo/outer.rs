//! What stands around the info dictionary. Nothing here but wrong piece layers makes a torrent unusable: what is odd is left out, with a
//! warning.

use std::collections::HashSet;

use super::urls::{TRACKER_SCHEMES, WEB_SEED_SCHEMES, check_url};
use super::{
    Extra, Info, MAX_INFO_LENGTH, MAX_NODES, MAX_TRACKERS, MAX_WEB_SEEDS, Metainfo, MetainfoError, Warnings,
    bad_value, lossy, read, wrong_type,
};
use crate::bencode::{Dict, Kind, Raw};
use crate::merkle::Tree;
use crate::safe_path::excerpt;

/// The keys that [`Metainfo`] has fields for; `piece layers` only beside an info that has such.
const KNOWN: &[&[u8]] = &[
    b"announce",
    b"announce-list",
    b"comment",
    b"created by",
    b"creation date",
    b"info",
    b"nodes",
    b"piece layers",
    b"url-list",
];

pub(super) fn read(torrent: Raw<'_>) -> Result<Metainfo, MetainfoError> {
    let length = torrent.bytes().len();
    let torrent = torrent.as_dict().ok_or(MetainfoError::NotADictionary)?;
    let layers = torrent.get("piece layers");
    if length - layers.map_or(0, |layers| layers.bytes().len()) > MAX_INFO_LENGTH as usize {
        return Err(MetainfoError::TooLong);
    }
    let info = read::read(torrent.get("info").ok_or(MetainfoError::Missing("info"))?)?;
    let mut warnings = Warnings::default();
    let has_layers = info.version().has_v2();
    if let Some(layers) = layers.filter(|_| has_layers) {
        read_layers(layers, &info, &mut warnings)?;
    }
    let trackers = read_trackers(torrent, &mut warnings);
    let web_seeds = read_web_seeds(torrent, &mut warnings);
    let nodes = read_nodes(torrent, &mut warnings);
    let comment = read_text(torrent, "comment", &mut warnings);
    let created_by = read_text(torrent, "created by", &mut warnings);
    let creation_date = read_date(torrent, &mut warnings);
    let extra = Extra::of(torrent, |key| !KNOWN.contains(&key) || (key == b"piece layers" && !has_layers));
    let warnings = [info.warnings().to_vec(), warnings.finish()].concat();
    Ok(Metainfo { info, trackers, web_seeds, nodes, comment, created_by, creation_date, extra, warnings })
}

/// `piece layers` (BEP 52): from a file's root to the hashes of its pieces. One that is missing may come from peers; one that is wrong
/// shows that the file is damaged.
fn read_layers(layers: Raw<'_>, info: &Info, warnings: &mut Warnings) -> Result<(), MetainfoError> {
    let layers = layers.as_dict().ok_or_else(|| wrong_type("piece layers", "a dictionary"))?;
    for (root, layer) in layers {
        let key = || format!("piece layers[{}]", data_encoding::HEXLOWER.encode(&root[..root.len().min(32)]));
        let file = root.try_into().ok().and_then(|root| info.file_by_root(root));
        let file = file.ok_or_else(|| bad_value(key(), "belongs to no file"))?;
        let layer = layer.as_bytes().ok_or_else(|| wrong_type(key(), "a string"))?;
        let (hashes, []) = layer.as_chunks::<32>() else {
            return Err(bad_value(key(), "is not a whole number of SHA-256 hashes"));
        };
        let Some(tree) = info.tree(file).filter(Tree::has_piece_layer) else {
            warnings.push(|| format!("`{}` belongs to a file that needs none: ignored", key()));
            continue;
        };
        if hashes.len() as u64 != tree.layer_length(tree.piece_layer()) {
            return Err(bad_value(key(), "does not hold one hash for each piece of the file"));
        }
        info.set_layer(file, hashes.to_vec()).map_err(|_| bad_value(key(), "does not hash to its root"))?;
    }
    Ok(())
}

/// `announce-list`, or without a usable URL in it `announce` (BEP 12).
fn read_trackers(torrent: Dict<'_>, warnings: &mut Warnings) -> Vec<Vec<String>> {
    let mut urls =
        Urls { what: "tracker", schemes: TRACKER_SCHEMES, left: MAX_TRACKERS, seen: HashSet::new() };
    let mut tiers = Vec::new();
    if let Some(list) = torrent.get("announce-list") {
        if list.kind() != Kind::List {
            warnings.push(|| "`announce-list` is not a list: ignored".to_owned());
        }
        for tier in list.as_list().into_iter().flatten() {
            // A list of strings instead of a list of lists is a common mistake: each is a tier then.
            let tier = match tier.as_list() {
                Some(tier) => tier.iter().filter_map(|url| urls.take(url, warnings)).collect(),
                None => Vec::from_iter(urls.take(tier, warnings)),
            };
            if !tier.is_empty() {
                tiers.push(tier);
            }
        }
    }
    if tiers.is_empty() {
        // Empty here means: found by other means, such as DHT.
        let announce = torrent.get("announce").filter(|announce| announce.as_bytes() != Some(b""));
        tiers.extend(announce.and_then(|url| urls.take(url, warnings)).map(|url| vec![url]));
    }
    tiers
}

/// `url-list`: a string or a list of strings (BEP 19).
fn read_web_seeds(torrent: Dict<'_>, warnings: &mut Warnings) -> Vec<String> {
    let mut urls =
        Urls { what: "web seed", schemes: WEB_SEED_SCHEMES, left: MAX_WEB_SEEDS, seen: HashSet::new() };
    match torrent.get("url-list") {
        None => Vec::new(),
        // Several tools write an empty string for "none".
        Some(none) if none.as_bytes() == Some(b"") => Vec::new(),
        Some(list) if list.kind() == Kind::List => {
            list.as_list().into_iter().flatten().filter_map(|url| urls.take(url, warnings)).collect()
        }
        Some(url) => Vec::from_iter(urls.take(url, warnings)),
    }
}

/// URLs of one kind, each at most once, and not too many.
struct Urls {
    what: &'static str,
    schemes: &'static [&'static str],
    left: usize,
    seen: HashSet<String>,
}

impl Urls {
    fn take(&mut self, url: Raw<'_>, warnings: &mut Warnings) -> Option<String> {
        let what = self.what;
        let Some(text) = url.as_bytes() else {
            warnings.push(|| format!("a {what} is not a string: ignored"));
            return None;
        };
        let url = match check_url(text, self.schemes) {
            Ok(url) => url.to_owned(),
            Err(problem) => {
                warnings.push(|| format!("the {what} `{}` {problem}: ignored", excerpt_bytes(text)));
                return None;
            }
        };
        if self.seen.contains(&url) {
            return None;
        }
        if self.left == 0 {
            warnings.push(|| format!("the {what} `{}` is one too many: ignored", excerpt(&url)));
            return None;
        }
        self.left -= 1;
        self.seen.insert(url.clone());
        Some(url)
    }
}

/// `nodes`: a list of [host, port] (BEP 5).
fn read_nodes(torrent: Dict<'_>, warnings: &mut Warnings) -> Vec<(String, u16)> {
    let Some(list) = torrent.get("nodes") else { return Vec::new() };
    if list.kind() != Kind::List {
        warnings.push(|| "`nodes` is not a list: ignored".to_owned());
    }
    let mut nodes = Vec::new();
    for node in list.as_list().into_iter().flatten() {
        match node.decode::<(String, u16)>() {
            Ok((host, port)) if port > 0 && is_host(&host) && nodes.len() < MAX_NODES => {
                nodes.push((host, port));
            }
            Ok(_) if nodes.len() == MAX_NODES => warnings.push(|| "a DHT node too many: ignored".to_owned()),
            _ => warnings.push(|| "a DHT node is not a host and a port: ignored".to_owned()),
        }
    }
    nodes
}

/// Whether this may be a host's name or address: no longer than DNS allows, and no letter that has another meaning elsewhere.
pub(crate) fn is_host(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (1..=253).contains(&host.len()) && host.chars().all(plain)
}

fn read_text(torrent: Dict<'_>, key: &str, warnings: &mut Warnings) -> Option<String> {
    match torrent.get(key)?.as_bytes() {
        Some(text) => Some(lossy(text)),
        None => {
            warnings.push(|| format!("`{key}` is not a string: ignored"));
            None
        }
    }
}

fn read_date(torrent: Dict<'_>, warnings: &mut Warnings) -> Option<i64> {
    let date = torrent.get("creation date")?;
    let seconds = date.as_int().filter(|&seconds| seconds >= 0);
    if seconds.is_none() {
        warnings.push(|| "`creation date` is not a time: ignored".to_owned());
    }
    seconds
}

fn excerpt_bytes(bytes: &[u8]) -> String {
    excerpt(&String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
}
