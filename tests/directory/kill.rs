//! kill -9 while many publish: what was acknowledged is there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

use harness::directory::{Directory, torrent, try_ask};
use harness::process::Signal;
use harness::sandbox::Sandbox;
use harness::wait::{self, LONG};

/// How many publish at a time.
const PUBLISHERS: usize = 4;

/// It is killed when so many have been acknowledged, three times.
const ROUNDS: [usize; 3] = [20, 60, 120];

#[test]
fn nothing_that_was_acknowledged_is_lost() {
    let sandbox = Sandbox::new();
    let mut directory = Directory::start(&sandbox, &["--open-publish"]);
    let (acknowledged, next) = (Mutex::new(Vec::<u32>::new()), AtomicU32::new(0));
    for round in ROUNDS {
        let addr = directory.addr();
        thread::scope(|scope| {
            for _ in 0..PUBLISHERS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Relaxed);
                        let bytes = torrent(&format!("thing {number}"), 16, number);
                        // Once it is killed, nobody answers.
                        match try_ask(addr, "POST", "/api/v1/torrents", &[], &bytes) {
                            Some(reply) if reply.status == 201 => acknowledged.lock().unwrap().push(number),
                            _ => return,
                        }
                    }
                });
            }
            wait::until("enough to be acknowledged", LONG, || {
                (acknowledged.lock().unwrap().len() >= round).then_some(())
            });
            directory.tracker.process.signal(Signal::KILL);
        });
        directory = directory.kill_and_start(&sandbox);
        for number in acknowledged.lock().unwrap().iter() {
            let name = format!("thing {number}");
            let found = directory.titles(&format!("q=%22thing%20{number}%22"));
            assert!(found.contains(&name), "{name} was acknowledged, and is not there");
        }
    }
}
