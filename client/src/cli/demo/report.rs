//! Who got how much from whom.

use std::time::Duration;

use serde_json::{Value, json};
use torrent_format::Info;

use super::node::Node;
use crate::cli::Context;
use crate::cli::progress::percent;
use crate::cli::value::{Size, show_duration};

/// What is told at the end, when every copy has been checked.
#[derive(Debug)]
pub(super) struct Report {
    total: u64,
    time: Duration,
    sent_by_seeder: u64,
    downloaders: Vec<Line>,
}

/// One downloader.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    name: String,
    from_seeder: u64,
    from_others: u64,
    sent: u64,
}

impl Report {
    /// Reads the figures of every node.
    pub(super) fn new(nodes: &[Node], info: &Info, time: Duration) -> Self {
        let seeders: Vec<_> = nodes.iter().filter(|node| !node.is_downloader()).collect();
        let line = |node: &Node| {
            let snapshot = node.snapshot();
            let from = |wanted: bool| {
                let peers = snapshot.peers.iter();
                let from_seeder = |id| seeders.iter().any(|seeder| seeder.peer_id() == id);
                peers.filter(|peer| from_seeder(peer.peer_id) == wanted).map(|peer| peer.downloaded).sum()
            };
            let sent = snapshot.stats.uploaded;
            Line { name: node.name().to_owned(), from_seeder: from(true), from_others: from(false), sent }
        };
        Self {
            total: info.layout().total(),
            time,
            sent_by_seeder: seeders.iter().map(|seeder| seeder.stats().uploaded).sum(),
            downloaders: nodes.iter().filter(|node| node.is_downloader()).map(line).collect(),
        }
    }

    /// Prints it as data.
    pub(super) fn print(&self, cx: &Context) {
        if cx.out.is_json() { cx.out.json(self.json()) } else { cx.out.data(self.text()) }
    }

    fn copies(&self) -> f64 {
        self.sent_by_seeder as f64 / self.total.max(1) as f64
    }

    fn text(&self) -> String {
        let size = |bytes| Size(bytes).to_string();
        let mut lines = vec![format!(
            "{:<14} {:>15} {:>18} {:>7} {:>10}",
            "", "from the seeder", "from one another", "share", "sent"
        )];
        for line in &self.downloaders {
            let share = percent(line.from_others, (line.from_seeder + line.from_others).max(1));
            let (seeder, others, sent) = (size(line.from_seeder), size(line.from_others), size(line.sent));
            lines.push(format!("{:<14} {seeder:>15} {others:>18} {share:>6}% {sent:>10}", line.name));
        }
        lines.push(format!(
            "the seeder sent {}, {:.2} copies, for {} copies of {} in {}",
            size(self.sent_by_seeder),
            self.copies(),
            self.downloaders.len(),
            size(self.total),
            show_duration(self.time),
        ));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let downloaders = self.downloaders.iter().map(|line| {
            json!({
                "name": line.name, "from_seeder": line.from_seeder, "from_downloaders": line.from_others,
                "uploaded": line.sent,
            })
        });
        json!({
            "total_size": self.total,
            "seconds": self.time.as_secs_f64(),
            "seeder": {"uploaded": self.sent_by_seeder, "copies": self.copies()},
            "downloaders": downloaders.collect::<Vec<_>>(),
            "verified": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_got_how_much_from_whom() {
        let line = |name: &str, from_seeder: u64, from_others: u64, sent: u64| Line {
            name: name.into(),
            from_seeder: from_seeder << 20,
            from_others: from_others << 20,
            sent: sent << 20,
        };
        let report = Report {
            total: 64 << 20,
            time: Duration::from_secs(7),
            sent_by_seeder: 72 << 20,
            downloaders: vec![line("downloader 1", 24, 40, 48), line("downloader 2", 48, 16, 8)],
        };
        let expected = "               \
            from the seeder   from one another   share       sent\n\
            downloader 1            24 MiB             40 MiB     62%     48 MiB\n\
            downloader 2            48 MiB             16 MiB     25%      8 MiB\n\
            the seeder sent 72 MiB, 1.12 copies, for 2 copies of 64 MiB in 7s";
        assert_eq!(report.text(), expected);
    }
}
