//! The flags of `sprat search` and `sprat publish`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// Which directory.
#[derive(Args, Clone, Debug)]
pub(crate) struct DirectoryPlace {
    /// The directory: http://HOST:PORT of the tracker that serves it [env: SPRAT_DIRECTORY_URL]
    #[arg(long, value_name = "URL")]
    pub(crate) directory_url: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct SearchArgs {
    /// What to search for: words in any order, "a phrase", -not (in quotes, or after --), this|that [default: everything]
    #[arg(value_name = "QUERY")]
    pub(crate) query: Vec<String>,
    #[command(flatten)]
    pub(crate) place: DirectoryPlace,
    /// Print the magnet of the best one, and nothing else
    #[arg(short = '1', long)]
    pub(crate) best: bool,
    /// In which order
    #[arg(long, value_name = "ORDER", default_value = "relevance")]
    pub(crate) sort: Sort,
    /// Most results
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Only what has so many seeders
    #[arg(long, value_name = "N")]
    pub(crate) min_seeders: Option<u32>,
    /// Only what has all of these tags, with commas between them
    #[arg(long, value_name = "TAGS")]
    pub(crate) tags: Option<String>,
}

/// `--sort`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    /// The best match that is alive
    Relevance,
    /// The most seeders
    Seeders,
    /// The largest
    Size,
    /// The newest
    Date,
}

impl Sort {
    /// As the directory is asked.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Relevance => "relevance",
            Self::Seeders => "seeders",
            Self::Size => "size",
            Self::Date => "date",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// The .torrent, or with --remove any SOURCE that names the torrent
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) source: OsString,
    #[command(flatten)]
    pub(crate) place: DirectoryPlace,
    /// A file with the token in it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// What to call it there [default: the torrent's name]
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// What to file it under, with commas between them
    #[arg(long, value_name = "TAGS")]
    pub(crate) tags: Option<String>,
    /// A text file that says more about it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) description: Option<PathBuf>,
    /// Take it off the directory
    #[arg(long, conflicts_with_all = ["title", "tags", "description"])]
    pub(crate) remove: bool,
}
