//! What is kept of a torrent that was published: [`Record`]; and what may be: the limits. Pure.

use std::fmt;
use std::str::FromStr;

use torrent_format::safe_path::printable;
use torrent_format::{Info, InfoHashes, Metainfo};

use super::fold::words;

/// Longest upload in bytes. A .torrent of a million pieces (v1) is twice that; nobody's browser or indexer takes such a one.
pub const MAX_UPLOAD: usize = 10 * 1024 * 1024;

/// Longest title in bytes.
pub const MAX_TITLE: usize = 256;

/// Longest description in bytes.
pub const MAX_DESCRIPTION: usize = 64 * 1024;

/// Most tags of a torrent.
pub const MAX_TAGS: usize = 16;

/// Longest tag in bytes.
pub const MAX_TAG: usize = 32;

/// Most bytes of file names' words that are searched, of one torrent: after ten thousand files the rest has nothing new to say, and
/// PostgreSQL takes no more than a megabyte.
const MAX_FILE_WORDS: usize = 256 * 1024;

/// A torrent as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of each version that it has.
    pub hashes: InfoHashes,
    /// What it is called here.
    pub title: String,
    /// What its files are called together.
    pub name: String,
    /// What its publisher says of it, as plain text.
    pub description: String,
    /// In the order given.
    pub tags: Vec<Tag>,
    /// Bytes of all files.
    pub size: u64,
    /// How many files.
    pub files: u32,
    /// When it was published, in seconds since 1970.
    pub published: u64,
    /// The token that published it; [`None`]: anybody could.
    pub owner: Option<String>,
}

/// What a publisher says beside the .torrent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Default: the torrent's name.
    pub title: Option<String>,
    /// Words with commas between them.
    pub tags: Option<String>,
    /// Plain text.
    pub description: Option<String>,
}

/// A word to file torrents under: lower-case letters and digits, with single hyphens between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// What is wrong with what was published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No torrent.
    #[error("{0}")]
    Torrent(String),
    /// Longer than [`MAX_TITLE`].
    #[error("a title has at most {MAX_TITLE} bytes")]
    Title,
    /// Longer than [`MAX_DESCRIPTION`].
    #[error("a description has at most {MAX_DESCRIPTION} bytes")]
    Description,
    /// More than [`MAX_TAGS`].
    #[error("a torrent has at most {MAX_TAGS} tags")]
    Tags,
    /// No letter or digit in it, or too many.
    #[error("a tag has letters or digits, at most {MAX_TAG} bytes of them: {0}")]
    Tag(String),
}

impl Tag {
    /// As it is spelt.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The word that stands for it in an index. It has a character that no word of a text has.
    pub fn token(&self) -> String {
        format!("_{}", self.0.replace('-', "_"))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let folded = words(text).collect::<Vec<_>>().join("-");
        if folded.is_empty() || folded.len() > MAX_TAG {
            return Err(RecordError::Tag(printable(text).chars().take(MAX_TAG).collect()));
        }
        Ok(Self(folded))
    }
}

/// Tags with commas between them; each once.
///
/// # Errors
/// If one can't be used, or there are too many.
pub fn parse_tags(text: &str) -> Result<Vec<Tag>, RecordError> {
    let mut tags: Vec<Tag> = Vec::new();
    for tag in text.split(',').filter(|tag| !tag.trim().is_empty()) {
        let tag = tag.parse()?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        if tags.len() > MAX_TAGS {
            return Err(RecordError::Tags);
        }
    }
    Ok(tags)
}

impl Record {
    /// What is listed of this torrent.
    ///
    /// # Errors
    /// If the remarks are too long.
    pub fn new(
        metainfo: &Metainfo,
        remarks: &Remarks,
        published: u64,
        owner: Option<String>,
    ) -> Result<Self, RecordError> {
        let info = &metainfo.info;
        let name = printable(info.name()).into_owned();
        let title = remarks.title.as_deref().map(one_line).filter(|title| !title.is_empty());
        if title.as_ref().is_some_and(|title| title.len() > MAX_TITLE) {
            return Err(RecordError::Title);
        }
        let description = remarks.description.as_deref().map(text).unwrap_or_default();
        if description.len() > MAX_DESCRIPTION {
            return Err(RecordError::Description);
        }
        Ok(Self {
            hashes: info.hashes(),
            title: title.unwrap_or_else(|| name.clone()),
            name,
            description,
            tags: parse_tags(remarks.tags.as_deref().unwrap_or_default())?,
            size: info.layout().total(),
            files: u32::try_from(info.files().iter().filter(|file| !file.pad).count()).unwrap_or(u32::MAX),
            published,
            owner,
        })
    }

    /// What it is found by.
    pub fn indexed(&self, info: &Info) -> Indexed {
        let mut title: Vec<String> = words(&self.title).collect();
        let title_words = u8::try_from(title.len()).unwrap_or(u8::MAX);
        if self.name != self.title {
            title.extend(words(&self.name));
        }
        let tags = self.tags.iter().flat_map(|tag| words(tag.as_str()).chain([tag.token()])).collect();
        let files = match info.is_single_file() {
            true => Vec::new(),
            false => {
                let files = info.files().iter().filter(|file| !file.pad);
                let all = files.flat_map(|file| file.path.elements().skip(1)).flat_map(words);
                let mut room = MAX_FILE_WORDS;
                all.take_while(|word| {
                    room = room.saturating_sub(word.len() + 1);
                    room > 0
                })
                .collect()
            }
        };
        Indexed { title, tags, files, title_words }
    }
}

/// The words that a torrent is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Of title and name.
    pub title: Vec<String>,
    /// Of tags, and for each the one that it is filtered by.
    pub tags: Vec<String>,
    /// Of the paths of the files.
    pub files: Vec<String>,
    /// How many of the title alone; 255 is that or more.
    pub title_words: u8,
}

/// A line of text without what a terminal, a page or XML would stumble over.
fn one_line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned()
}

/// Lines of such text.
fn text(text: &str) -> String {
    let lines: Vec<_> =
        text.lines().map(|line| printable(&line.replace('\t', "    ")).into_owned()).collect();
    lines.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_folded_and_filtered_by_as_a_whole() {
        let tags = parse_tags("Video HD, video-hd,,  Café ,x264").unwrap();
        assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["video-hd", "cafe", "x264"]);
        assert_eq!(tags[0].token(), "_video_hd");
        assert!(matches!(parse_tags("ok, <>"), Err(RecordError::Tag(_))));
        assert!(matches!(parse_tags(&"x".repeat(40)), Err(RecordError::Tag(_))));
        let many = (0..=MAX_TAGS).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(parse_tags(&many), Err(RecordError::Tags));
    }

    #[test]
    fn h44_text_is_kept_without_control_characters() {
        assert_eq!(one_line(" a\u{1b}[31m\u{202e}b\nc\u{0} "), "a\u{fffd}[31m\u{fffd}b c\u{fffd}");
        assert_eq!(text("a\tb\r\n\u{7}c\n\n"), "a    b\n\u{fffd}c");
    }
}
