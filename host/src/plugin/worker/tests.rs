use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Instant;

use super::*;

/// What the host makes of a worker that is `worker`, and which calls it served.
fn meet(
    patience: Duration,
    may_call: bool,
    worker: impl FnOnce(UnixStream) + Send + 'static,
) -> (std::result::Result<Said, Broken>, usize) {
    let (mut socket, inner) = UnixStream::pair().unwrap();
    let worker = thread::spawn(move || worker(inner));
    let mut calls = 0;
    let mut serve = |_: Call| {
        calls += 1;
        Reply::Bytes(vec![7; 1 << 20])
    };
    let serve: &mut dyn FnMut(Call) -> Reply = &mut serve;
    let said = talk(&mut socket, &Job::Conf, patience, may_call.then_some(serve));
    drop(socket);
    worker.join().unwrap();
    (said, calls)
}

fn broken(worker: impl FnOnce(UnixStream) + Send + 'static) -> Broken {
    meet(Duration::from_secs(20), true, worker).0.expect_err("it must be found out")
}

fn frame(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    [&length.to_le_bytes(), content].concat()
}

fn image() -> Vec<u8> {
    frame(&postcard::to_extend(&Said::Call(Call::Image), Vec::new()).unwrap())
}

/// Writes as much as the host takes, once it has said what is to be done, as a worker would.
fn write(socket: &UnixStream, bytes: &[u8]) {
    let mut socket = socket.try_clone().unwrap();
    assert!(matches!(wire::hear(&mut socket).unwrap(), Job::Conf));
    socket.write_all(bytes).ok();
}

/// Writes, and stays until the host hangs up.
fn write_and_stay(mut socket: UnixStream, bytes: &[u8]) {
    write(&socket, bytes);
    socket.read_to_end(&mut Vec::new()).ok();
}

#[test]
fn an_honest_worker_is_served_and_heard() {
    let (said, calls) = meet(Duration::from_secs(20), true, |mut socket| {
        assert!(matches!(wire::hear(&mut socket).unwrap(), Job::Conf));
        for _ in 0..3 {
            wire::say(&mut socket, &Said::Call(Call::Image)).unwrap();
            let Reply::Bytes(bytes) = wire::hear(&mut socket).unwrap() else { panic!("another reply") };
            assert_eq!(bytes.len(), 1 << 20);
        }
        let ended = Ended { result: Ok(Answer::Executed(Ok(()))), fuel: 5, read_clock: false };
        wire::say(&mut socket, &Said::Ended(Box::new(ended))).unwrap();
    });
    let Ok(Said::Ended(ended)) = said else { panic!("{said:?}") };
    assert_eq!((ended.fuel, calls), (5, 3));
}

#[test]
fn garbage_is_told_from_a_message() {
    let no_message = Broken::Garbage("what is no message");
    assert_eq!(broken(|socket| write_and_stay(socket, &frame(&[0xff; 300]))), no_message);
    assert_eq!(broken(|socket| write_and_stay(socket, &frame(b""))), no_message);
    let mut longer = image();
    longer.push(0);
    longer[0] += 1;
    assert_eq!(broken(move |socket| write_and_stay(socket, &longer)), no_message, "something is left");
    // A list that claims to have more entries than there can be.
    assert_eq!(broken(|socket| write_and_stay(socket, &frame(&[0, 24, 0xff, 0xff, 0xff, 0xff, 0x0f]))), no_message);
}

#[test]
fn a_message_that_is_too_long_is_not_read() {
    let too_long = Broken::Garbage("a message that is too long");
    assert_eq!(broken(|socket| write_and_stay(socket, &[0xff; 4])), too_long);
    let just = u32::try_from(engine::HOSTCALL_FUEL + (1 << 20) + 1).unwrap();
    assert_eq!(broken(move |socket| write_and_stay(socket, &just.to_le_bytes())), too_long);
}

#[test]
fn a_worker_that_ends_within_a_message_has_hung_up() {
    for length in 0..image().len() {
        assert_eq!(broken(move |socket| write(&socket, &image()[..length])), Broken::HungUp, "{length}");
    }
}

#[test]
fn a_silent_worker_costs_no_more_than_the_patience() {
    let patience = Duration::from_millis(300);
    let silent = |worker: fn(UnixStream)| {
        let start = Instant::now();
        let (said, _) = meet(patience, true, worker);
        assert_eq!(said.unwrap_err(), Broken::Silent);
        assert!(start.elapsed() >= patience, "{:?}", start.elapsed());
    };
    silent(|mut socket| {
        // Until the host hangs up.
        socket.read_to_end(&mut Vec::new()).ok();
    });
    silent(|mut socket| {
        // A little now and then is no sign of life.
        while socket.write_all(&[1]).is_ok() && socket.set_nonblocking(false).is_ok() {
            thread::sleep(Duration::from_millis(200));
        }
    });
    silent(|socket| {
        // It asks and does not listen.
        write(&socket, &image());
        thread::sleep(Duration::from_millis(600));
    });
}

#[test]
fn nothing_is_said_out_of_turn() {
    let (said, calls) =
        meet(Duration::from_secs(20), true, |socket| write_and_stay(socket, &[image(), image()].concat()));
    assert_eq!((said.unwrap_err(), calls), (Broken::Garbage("a message out of turn"), 0));
    let (said, calls) = meet(Duration::from_secs(20), false, |socket| write_and_stay(socket, &image()));
    assert_eq!((said.unwrap_err(), calls), (Broken::Garbage("a call from a plugin that may make none"), 0));
}

#[test]
fn the_end_of_a_worker_is_told_in_words() {
    for (broken, words) in [
        (Broken::Died(128 + 6), "needs more than the 16 MiB of memory that it may use"),
        (
            Broken::Died(128 + 9),
            "lost its process, which was killed, most likely because the machine had no memory left",
        ),
        (Broken::Died(3), "lost its process, which failed with status 3"),
        (Broken::Silent, "gave no sign of life in time and was killed"),
        (Broken::Garbage("noise"), "its process sent noise"),
    ] {
        let told = broken.describe(16 << 20);
        assert!(told.contains(words), "{told}");
    }
}
