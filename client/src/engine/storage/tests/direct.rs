//! Sending from the file.

#![cfg(target_os = "linux")]

use rustix::net::RecvFlags;
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
        match source.send(stream, sent..16 * K as u32) {
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
        let source = opened.storage.direct(&[block(index)]).expect("it was read just now");
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
    let sent = |index| opened.storage.direct(&[block(index)]).is_some();
    assert_eq!(
        (0..9).map(sent).collect::<Vec<_>>(),
        [true, true, true, false, true, true, true, true, false]
    );
    let beyond = BlockRequest { begin: 16 * K as u32 - 1, ..block(0) };
    assert!(opened.storage.direct(&[beyond]).is_none());
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
    let source = opened.storage.direct(&[block(7)]).unwrap();
    std::fs::File::options().write(true).open(case.path(1)).unwrap().set_len(10).unwrap();
    assert!(matches!(send(&source, &ours).await, Err(SendError::Source)));
    assert!(opened.storage.read_blocking(block(7), &mut Vec::new()).is_err(), "and it is known");
    assert!(opened.storage.direct(&[block(7)]).is_none());
}

#[tokio::test]
async fn a_download_sends_what_it_has_and_nothing_else() {
    let case = Case::new(16 * K, &[("a", 56 * K), ("b", 72 * K)]);
    let mut opened = open(case.options()).unwrap();
    assert!(opened.storage.direct(&[block(1)]).is_none());
    opened.feed(&case, &[1]).await;
    warm(&opened, block(1));
    assert!(opened.storage.direct(&[block(1)]).is_some() && opened.storage.direct(&[block(2)]).is_none());
}

#[tokio::test]
async fn neighbours_leave_together_as_far_as_one_file_has_them() {
    // The second piece is of both files, whose border cuts its third block.
    let case = Case::new(64 * K, &[("a", 104 * K), ("b", 72 * K)]);
    case.place_all();
    let opened = open(case.seed()).unwrap();
    let block = |index, number| BlockRequest { index, begin: number * 16 * K as u32, length: 16 * K as u32 };
    for index in 0..2 {
        (0..4).for_each(|number| warm(&opened, block(index, number)));
    }
    let together = |parts: &[(u32, u32)]| {
        let parts: Vec<_> = parts.iter().map(|&(index, number)| block(index, number)).collect();
        opened.storage.direct(&parts).map(|source| source.blocks())
    };
    assert_eq!(together(&[(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]), Some(4), "a piece at a time");
    assert_eq!(together(&[(0, 0), (0, 2)]), Some(1), "not what is apart");
    assert_eq!(together(&[(0, 2), (0, 1)]), Some(1), "nor the other way round");
    assert_eq!(together(&[(1, 1), (1, 2), (1, 3)]), Some(1), "the next is of two files");
    assert_eq!(together(&[(1, 2), (1, 3)]), None);
    assert_eq!(together(&[(1, 3)]), Some(1));
    assert_eq!(together(&[]), None);

    let (ours, mut theirs) = sockets().await;
    let source = opened.storage.direct(&[block(0, 1), block(0, 2)]).unwrap();
    ours.writable().await.unwrap();
    let some = source.send(&ours, 16 * K as u32 - 10..16 * K as u32 + 10).unwrap();
    let mut got = vec![0; some];
    patiently(theirs.read_exact(&mut got)).await.unwrap();
    let border = 32 * K;
    assert!(got == case.bytes(case.piece(0))[border - 10..][..some]);
}

#[tokio::test]
async fn what_is_in_memory_is_put_together_at_once_and_nothing_that_was_changed() {
    let case = case();
    let opened = open(case.seed()).unwrap();
    let read = |index| {
        let mut out = vec![9; 3];
        opened.storage.read_at_hand(block(index), &mut out).then_some(out)
    };
    for index in 0..8 {
        // The check at the start has just read it, but a machine may be short of memory.
        warm(&opened, block(index));
        assert!(read(index).is_some_and(|out| out == case.bytes(case.piece(index))), "{index}");
    }
    assert!(read(8).is_none(), "there is no such piece");
    std::fs::File::options()
        .write(true)
        .open(case.path(1))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(read(2).is_some() && read(3).is_none() && read(4).is_none());
}

#[tokio::test]
async fn padding_and_a_gap_behind_a_piece_are_zeros_at_hand_too() {
    let case = Case::of(Version::Hybrid, 32 * K, &[("a", 20 * K), ("b", 10 * K)]);
    case.place_all();
    let opened = open(case.seed()).unwrap();
    for piece in [0, 1] {
        let length = case.info.layout().piece_size(case.piece(piece)).min(32 * K as u32);
        for begin in (0..length).step_by(16 * K) {
            let part = BlockRequest { index: piece, begin, length: (length - begin).min(16 * K as u32) };
            let (mut slow, mut quick) = (Vec::new(), Vec::new());
            opened.storage.read_blocking(part, &mut slow).unwrap();
            assert!(opened.storage.read_at_hand(part, &mut quick));
            assert!(slow == quick && slow.len() == part.length as usize);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_open_is_opened_only_if_it_is_the_one_that_was_looked_at() {
    let case = Case::new(16 * K, &[("a", 16 * K), ("b", 16 * K), ("c", 16 * K)]);
    case.place_all();
    // Nothing is read, and so nothing open.
    let opened = open(OpenStorage { check: Check::Trust, ..case.seed() }).unwrap();
    for file in [0, 1] {
        let aside = case.path(file).with_extension("aside");
        std::fs::rename(case.path(file), &aside).unwrap();
        if file == 0 {
            std::fs::copy(aside, case.path(0)).unwrap();
        } else {
            std::os::unix::fs::symlink(aside, case.path(1)).unwrap();
        }
    }
    let at_hand = |index| {
        let part = block(index);
        (opened.storage.direct(&[part]).is_some(), opened.storage.read_at_hand(part, &mut Vec::new()))
    };
    assert_eq!([0, 1, 2].map(at_hand), [(false, false), (false, false), (true, true)]);
}

#[tokio::test]
async fn what_is_corked_leaves_when_the_cork_is_drawn_and_bbr_is_left_alone() {
    use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion, tcp_cork};
    let (ours, mut theirs) = sockets().await;
    set_tcp_congestion(&ours, "reno").expect("every kernel has it");
    let cork = Cork::new(&ours).expect("it is not paced");
    ours.writable().await.unwrap();
    assert_eq!(ours.try_write(b"ab").unwrap(), 2);
    assert_eq!(ours.try_write(b"c").unwrap(), 1);
    // On loopback what leaves is there when the call returns.
    let peeked = rustix::net::recv(&theirs, &mut [0; 8], RecvFlags::DONTWAIT | RecvFlags::PEEK);
    assert_eq!(peeked.unwrap_err(), rustix::io::Errno::AGAIN);
    // The kernel would draw it too after a while, so that to wait for the bytes says nothing.
    assert!(tcp_cork(&ours).unwrap());
    drop(cork);
    assert!(!tcp_cork(&ours).unwrap());
    let mut all = [0; 3];
    theirs.read_exact(&mut all).await.unwrap();
    assert_eq!(&all, b"abc");
    // Not every kernel has it.
    if set_tcp_congestion(&ours, "bbr").is_ok() && tcp_congestion(&ours).as_deref() == Ok("bbr") {
        assert!(Cork::new(&ours).is_none());
    }
}
