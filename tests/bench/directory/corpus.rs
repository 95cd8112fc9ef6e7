//! Torrents and queries that follow from their numbers.

use torrent_format::Metainfo;

/// Words of titles. Some are in a good part of all titles, most in a handful: the n-th is as frequent as 1/n, as words are.
const WORDS: usize = 60_000;

/// What the first words are: those that everybody searches for.
const COMMON: [&str; 40] = [
    "linux",
    "x64",
    "complete",
    "edition",
    "ubuntu",
    "1080p",
    "season",
    "the",
    "2024",
    "debian",
    "iso",
    "server",
    "desktop",
    "live",
    "netinst",
    "release",
    "amd64",
    "web",
    "data",
    "archive",
    "2023",
    "fedora",
    "part",
    "vol",
    "collection",
    "english",
    "image",
    "beta",
    "remastered",
    "open",
    "survey",
    "arch",
    "720p",
    "pack",
    "documentary",
    "of",
    "lts",
    "album",
    "flac",
    "lecture",
];

/// So many of them are in more than 10,000 of 500,000 titles each.
const FREQUENT: usize = 32;

/// Letters of the other words.
const SYLLABLES: [&str; 20] = [
    "ka", "to", "mi", "ra", "ne", "so", "lu", "vi", "po", "da", "fe", "gu", "hi", "jo", "ba", "cy", "re",
    "wa", "zu", "xe",
];

/// What one in three is filed under.
const TAGS: [&str; 6] = ["linux", "video", "audio", "books", "data", "science"];

/// A torrent to be published.
pub(crate) struct Torrent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) tags: &'static str,
}

impl Torrent {
    pub(crate) fn info_hash(&self) -> [u8; 20] {
        Metainfo::from_bytes(&self.bytes).expect("a torrent").info.info_hash().0
    }
}

/// All of them.
pub(crate) struct Corpus {
    /// How many torrents.
    count: usize,
    /// Up to which share of all words each word reaches.
    shares: Vec<f64>,
}

impl Corpus {
    pub(crate) fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let mut shares: Vec<f64> = (0..WORDS)
            .map(|rank| {
                sum += 1.0 / (rank as f64 + 3.0);
                sum
            })
            .collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        Self { count, shares }
    }

    fn word(&self, random: &mut fastrand::Rng) -> String {
        let part = random.f64();
        name(self.shares.partition_point(|&share| share < part))
    }

    /// Six to ten words; a third have files with names of their own.
    pub(crate) fn torrent(&self, number: usize) -> Torrent {
        let mut random = fastrand::Rng::with_seed(number as u64);
        let words: Vec<String> = (0..random.usize(6..=10)).map(|_| self.word(&mut random)).collect();
        let title = words.join([".", "_", "-", " "][random.usize(..4)]);
        let title = format!("{title}.{number}");
        let hash: String = (0..20).map(|_| char::from(random.u8(b'a'..=b'z'))).collect();
        let files = if random.usize(..3) == 0 { random.usize(2..40) } else { 1 };
        let content = if files == 1 {
            format!("6:lengthi{}e", 1 + random.u64(..16_384))
        } else {
            let mut list = String::from("5:filesl");
            for file in 0..files {
                let name = format!("{:02}.{}.{}.mkv", file, self.word(&mut random), self.word(&mut random));
                list += &format!("d6:lengthi{}e4:pathl{}:{name}ee", 1 + random.u64(..400), name.len());
            }
            list + "e"
        };
        let bytes = format!(
            "d4:infod{content}4:name{}:{title}12:piece lengthi16384e6:pieces20:{hash}ee",
            title.len()
        );
        Torrent { bytes: bytes.into_bytes(), tags: TAGS[random.usize(..TAGS.len())] }
    }

    /// In turn one that matches a good part of all, and one that somebody with something in mind would ask.
    pub(crate) fn query(&self, number: usize) -> String {
        let mut random = fastrand::Rng::with_seed(u64::MAX - number as u64);
        let common = |random: &mut fastrand::Rng| COMMON[random.usize(..FREQUENT)];
        if number.is_multiple_of(2) {
            return match random.usize(..6) {
                0 => format!("{}|{}", common(&mut random), common(&mut random)),
                1 => format!("{} -{}", common(&mut random), name(40 + random.usize(..500))),
                2 => common(&mut random)[..2].to_owned(),
                _ => common(&mut random).to_owned(),
            };
        }
        // Words of one title, as somebody remembers them.
        let torrent = self.torrent(random.usize(..self.count));
        let metainfo = Metainfo::from_bytes(&torrent.bytes).expect("a torrent");
        let title = metainfo.info.name().to_lowercase();
        let mut words: Vec<&str> = title.split(|c: char| !c.is_alphanumeric()).collect();
        words.pop();
        let pair = random.usize(..words.len() - 1);
        match random.usize(..4) {
            0 => format!("\"{} {}\"", words[pair], words[pair + 1]),
            1 => words[pair].to_owned(),
            _ => {
                random.shuffle(&mut words);
                words[..3].join(" ")
            }
        }
    }
}

fn name(rank: usize) -> String {
    if let Some(word) = COMMON.get(rank) {
        return (*word).to_owned();
    }
    let (mut rest, mut word) = (rank, String::new());
    while rest > 0 || word.len() < 4 {
        word += SYLLABLES[rest % SYLLABLES.len()];
        rest /= SYLLABLES.len();
    }
    word
}

/// As the query of a URL carries it.
pub(crate) fn escape(text: &str) -> String {
    harness::tracker::http::escape(text.as_bytes())
}
