//! One seeder and one downloader: who is fastest, and at what cost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::clients::{Client, Tools};
use crate::measure::{self, Run};
use crate::options::{Case, Options, Pair};
use crate::payload::Payload;
use crate::relay;
use crate::table;

/// All runs of a case; gives its table.
pub(crate) fn race(case: Case, tools: &Tools, options: &Options, work: &Path, sound: &mut bool) -> String {
    let payload = match case {
        Case::OneFile => Payload::file(work, options.size(4 << 30), options.payload.as_deref(), tools),
        Case::Delay => Payload::file(work, options.size(256 << 20), None, tools),
        _ => Payload::tree(work, options.size(1 << 30), options.files, tools),
    };
    payload.warm();
    let route = |seeder| if case == Case::Delay { relay::start(seeder) } else { seeder };
    let takes_part = |pair: &Pair| {
        let floor = pair.seeder == Client::Floor && !payload.is_file();
        tools.has(pair.seeder) && tools.has(pair.downloader) && !floor
    };
    let pairs = options.pairs.iter().copied().filter(takes_part);
    let mut runs: Vec<(Pair, Vec<Option<Run>>)> = pairs.map(|pair| (pair, Vec::new())).collect();
    for round in 1..=options.runs {
        for (pair, runs) in &mut runs {
            let run =
                catch_unwind(AssertUnwindSafe(|| measure::transfer(*pair, &payload, tools, work, route)))
                    .ok();
            if let Some(run) = &run {
                *sound &= run.sound;
                eprintln!("{} {pair} {round}: {}", case.name(), table::line(run));
            }
            runs.push(run);
        }
    }
    let text = match case {
        Case::Delay => table::delay(&payload, &runs),
        _ => table::table(case, &payload, &runs),
    };
    std::fs::remove_dir_all(&payload.data).expect("what was written can be removed");
    text
}
