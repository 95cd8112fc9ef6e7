//! Sending from the file.

#![cfg(target_os = "linux")]

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::*;

const K: usize = 1024;

/// Block 3 is of both files.
fn case() -> Case {
    let case = Case::new(16 * K, &[("a", 56 * K), ("b", 72 * K)]);
    case.place_all();
    case
}

fn block(index: u32) -> BlockRequest {
    BlockRequest { index, begin: 0, length: 16 * K as u32 }
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(listener.accept(), TcpStream::connect(addr));
    (ours.unwrap().0, theirs.unwrap())
}

/// Reads it the slow way once, so that its file is open and its bytes are in memory.
fn warm(opened: &Opened, block: BlockRequest) {
    opened.storage.read_blocking(block, &mut Vec::new()).unwrap();
}

async fn send(source: &Direct, stream: &TcpStream) -> Result<(), SendError> {
    stream.writable().await.unwrap();
    assert_eq!(source.send_header(stream, b"head").unwrap(), 4);
    let mut sent = 0;
    while sent < 16 * K as u32 {
        stream.writable().await.unwrap();
        match source.send(stream, sent) {
            Ok(some) => sent += some as u32,
            Err(SendError::Socket(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_block_leaves_its_file_as_it_is() {
    let case = case();
    let opened = open(case.seed()).unwrap();
    let (ours, mut theirs) = sockets().await;
    for index in [5, 0, 7] {
        warm(&opened, block(index));
        let source = opened.storage.direct(block(index)).expect("it was read just now");
        send(&source, &ours).await.unwrap();
        let mut got = vec![0; 4 + 16 * K];
        patiently(theirs.read_exact(&mut got)).await.unwrap();
        assert_eq!(&got[..4], b"head");
        assert!(got[4..] == *case.bytes(case.piece(index)));
    }
}

#[tokio::test]
async fn what_has_to_be_put_together_looked_at_or_is_not_there_is_not_sent_so() {
    let case = case();
    let opened = open(case.seed()).unwrap();
    for index in 0..8 {
        warm(&opened, block(index));
    }
    let sent = |index| opened.storage.direct(block(index)).is_some();
    assert_eq!(
        (0..9).map(sent).collect::<Vec<_>>(),
        [true, true, true, false, true, true, true, true, false]
    );
    let beyond = BlockRequest { begin: 16 * K as u32 - 1, ..block(0) };
    assert!(opened.storage.direct(beyond).is_none());
    // Touched: it must be hashed anew before it may leave.
    std::fs::File::options()
        .write(true)
        .open(case.path(0))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(!sent(0) && sent(5));
}

#[tokio::test]
async fn a_file_that_is_cut_short_on_the_way_is_the_files_fault() {
    let case = case();
    let opened = open(case.seed()).unwrap();
    let (ours, _theirs) = sockets().await;
    warm(&opened, block(7));
    let source = opened.storage.direct(block(7)).unwrap();
    std::fs::File::options().write(true).open(case.path(1)).unwrap().set_len(10).unwrap();
    assert!(matches!(send(&source, &ours).await, Err(SendError::Source)));
    assert!(opened.storage.read_blocking(block(7), &mut Vec::new()).is_err(), "and it is known");
    assert!(opened.storage.direct(block(7)).is_none());
}

#[tokio::test]
async fn a_download_sends_what_it_has_and_nothing_else() {
    let case = Case::new(16 * K, &[("a", 56 * K), ("b", 72 * K)]);
    let mut opened = open(case.options()).unwrap();
    assert!(opened.storage.direct(block(1)).is_none());
    opened.feed(&case, &[1]).await;
    warm(&opened, block(1));
    assert!(opened.storage.direct(block(1)).is_some() && opened.storage.direct(block(2)).is_none());
}
