//! The command line of the benchmark.

use std::path::PathBuf;

use harness::bench::{self, size};

use crate::payload::Payload;

pub(crate) const USAGE: &str = "\
usage: cargo bench -p tests --bench create -- [OPTION VALUE]...

  --size SIZE               bytes of the one large file                          [4GiB]
  --piece-length SIZE       its piece length                                     [1MiB]
  --tree-size SIZE          bytes of the tree                                    [1GiB]
  --tree-files N            files of the tree                                    [20000]
  --tree-piece-length SIZE  its piece length                                     [512KiB]
  --only file|tree          one of the two
  --runs N                  timed runs of each contender; the median counts      [5]
  --dir DIR                 where to make the payload                            [the system's temporary directory]
  --torf PYTHON             a Python that has torf, such as one in a venv        [python3]
  --imdl PROGRAM            intermodal                                           [imdl]

What is not installed is left out, and said so.
";

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    size: u64,
    piece_length: u32,
    tree_size: u64,
    tree_files: u32,
    tree_piece_length: u32,
    only: Option<String>,
    /// Timed runs of each contender.
    pub(crate) runs: usize,
    /// Where the payload goes.
    pub(crate) dir: PathBuf,
    /// A Python that may have torf.
    pub(crate) torf: PathBuf,
    /// intermodal's program.
    pub(crate) imdl: PathBuf,
    given: Vec<String>,
}

impl Options {
    /// Reads the arguments; `None`: help was asked for.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        // `cargo bench` adds --bench.
        let given: Vec<String> = arguments.filter(|argument| argument != "--bench").collect();
        if given.iter().any(|argument| argument == "--help" || argument == "-h") {
            return Ok(None);
        }
        let mut options = Self {
            size: 4 << 30,
            piece_length: 1 << 20,
            tree_size: 1 << 30,
            tree_files: 20_000,
            tree_piece_length: 512 << 10,
            only: None,
            runs: 5,
            dir: std::env::temp_dir(),
            torf: "python3".into(),
            imdl: "imdl".into(),
            given,
        };
        for pair in options.given.clone().chunks(2) {
            let [option, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let bad = || format!("{option}: {value} won't do");
            let size = || size(value).ok_or_else(bad);
            let piece_length = || {
                let length = u32::try_from(size()?).map_err(|_| bad())?;
                if length.is_power_of_two() && length >= 32 << 10 { Ok(length) } else { Err(bad()) }
            };
            let count = || value.parse::<u32>().ok().filter(|&count| count > 0).ok_or_else(bad);
            match option.as_str() {
                "--size" => options.size = size()?,
                "--piece-length" => options.piece_length = piece_length()?,
                "--tree-size" => options.tree_size = size()?,
                "--tree-files" => options.tree_files = count()?,
                "--tree-piece-length" => options.tree_piece_length = piece_length()?,
                "--only" if value == "file" || value == "tree" => options.only = Some(value.clone()),
                "--only" => return Err(bad()),
                "--runs" => options.runs = count()? as usize,
                "--dir" => options.dir = value.into(),
                "--torf" => options.torf = value.into(),
                "--imdl" => options.imdl = value.into(),
                _ => return Err(format!("no such option: {option}")),
            }
        }
        Ok(Some(options))
    }

    /// What to make torrents of.
    pub(crate) fn payloads(&self) -> Vec<Payload> {
        let file = Payload::file(self.size, self.piece_length);
        let tree = Payload::tree(self.tree_size, self.tree_files, self.tree_piece_length);
        match self.only.as_deref() {
            Some("file") => vec![file],
            Some(_) => vec![tree],
            None => vec![file, tree],
        }
    }

    /// The command line that does this again, but for where things lie.
    pub(crate) fn command(&self) -> String {
        bench::command("create", &self.given, &["--dir", "--torf", "--imdl"])
    }
}
