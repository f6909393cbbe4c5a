//! Debug information that is fetched from a server.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::native::compile;
use crate::support::{
    Collapsed, Dump, Interpreter, Place, Run, Running, Target, command, eventually,
};

/// A server of debuginfod's protocol, on a port of its own.
struct Server {
    address: String,
    /// The paths that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

/// What a server does when it is asked for something.
#[derive(Clone, Debug)]
enum Answer {
    File(PathBuf),
    NotFound,
    /// It sends a part of this many bytes, and then nothing.
    Stops(usize),
}

impl Server {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let paths = Arc::clone(&asked);
        thread::spawn(move || {
            let mut open = Vec::new();
            for client in listener.incoming() {
                open.extend(serve(client.unwrap(), &answer, &paths));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one client; what is to stay open.
fn serve(mut client: TcpStream, answer: &Answer, asked: &Mutex<Vec<String>>) -> Option<TcpStream> {
    let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
    let first = lines.next()?.ok()?;
    lines
        .find(|line| line.as_ref().is_ok_and(String::is_empty))?
        .ok()?;
    let path = first.split(' ').nth(1)?;
    let (status, body, len) = match answer {
        Answer::File(file) => {
            let body = fs::read(file).unwrap();
            ("200 OK", body.clone(), body.len())
        }
        Answer::NotFound => ("404 Not Found", Vec::new(), 0),
        Answer::Stops(sent) => ("200 OK", vec![0; *sent], usize::MAX >> 1),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    let _ = client.write_all(head.as_bytes());
    let _ = client.write_all(&body);
    asked.lock().unwrap().push(path.to_owned());
    matches!(answer, Answer::Stops(_)).then_some(client)
}

/// A program without names of its own, its debug information apart, and its build id.
struct Stripped {
    target: Target,
    debug: PathBuf,
    build_id: String,
    cache: PathBuf,
    kept: tempfile::TempDir,
}

impl Stripped {
    fn start() -> Self {
        let place = Place::below(&Interpreter::all()[0]);
        let kept = tempfile::tempdir().unwrap();
        let program = place.outside().join("program");
        compile("spin.c", &["-g", "-Wl,--build-id"], &program);
        let debug = kept.path().join("apart");
        let copy = |args: &[&str], from: &Path, to: &Path| {
            let copied = Command::new("objcopy")
                .args(args)
                .arg(from)
                .arg(to)
                .status();
            assert!(copied.unwrap().success(), "{args:?}");
        };
        copy(&["--only-keep-debug"], &program, &debug);
        copy(&["--strip-all"], &program, &program);
        let notes = Command::new("readelf").arg("-n").arg(&program).output();
        let notes = String::from_utf8(notes.unwrap().stdout).unwrap();
        let build_id = notes.split("Build ID: ").nth(1).unwrap();
        let build_id = build_id.split_whitespace().next().unwrap().to_owned();
        let target = Target::run(Command::new(&program), place).settled();
        Self {
            target,
            debug,
            build_id,
            cache: kept.path().join("cache"),
            kept,
        }
    }

    /// A command that fetches from this server.
    fn command(&self, args: &[&str], server: &str) -> Command {
        let mut command = command(args);
        command.arg(self.target.pid_arg());
        command.env("DEBUGINFOD_URLS", format!("ima:permissive {server}"));
        command.env("DEBUGINFOD_CACHE_PATH", &self.cache);
        command
    }

    fn run(&self, args: &[&str], server: &str) -> Run {
        Running::start(&mut self.command(args, server)).end()
    }

    /// Nothing lies in the cache, not even a directory.
    #[track_caller]
    fn assert_nothing_cached(&self) {
        let left = fs::read_dir(&self.cache).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{:?}", self.cached());
    }

    /// All that lies in the cache.
    fn cached(&self) -> Vec<PathBuf> {
        let Ok(directories) = fs::read_dir(&self.cache) else {
            return Vec::new();
        };
        let files = |directory: fs::DirEntry| fs::read_dir(directory.path()).unwrap();
        let files = directories.flatten().flat_map(files).flatten();
        files.map(|file| file.path()).collect()
    }
}

/// Without the flag nobody is asked; with it what is missing is fetched once, at
/// its build id, into the cache of all such clients, and `dump` shows functions
/// with their lines.
#[test]
fn dump_fetches_when_it_is_asked_to() {
    let program = Stripped::start();
    let server = Server::start(Answer::File(program.debug.clone()));
    let run = program.run(&["dump"], &server.address).succeeded();
    assert!(!run.stdout.contains("wait_here"), "{run:#?}");
    assert_eq!(server.asked(), [""; 0]);
    for _ in 0..2 {
        let run = program.run(&["dump", "--debuginfod"], &server.address);
        let run = run.succeeded();
        let dump = Dump::parse(&run.stdout);
        let waiter = dump.thread("waiter (1)");
        let here = waiter.merged.iter().find(|frame| frame.name == "wait_here");
        assert!(here.unwrap().line.is_some(), "{run:#?}");
        let place = program.cache.join(&program.build_id).join("debuginfo");
        assert_eq!(program.cached(), [place]);
        let path = format!("/buildid/{}/debuginfo", program.build_id);
        let asked = server.asked();
        assert_eq!(asked.iter().filter(|asked| **asked == path).count(), 1);
    }
}

/// A recording fetches when it has ended, and shows the functions by their names, at their
/// lines.
#[test]
fn record_fetches_when_it_has_ended() {
    let program = Stripped::start();
    let server = Server::start(Answer::File(program.debug.clone()));
    let file = program.kept.path().join("out.txt");
    let args = ["record", "--debuginfod", "-i", "-d", "0.5", "-o"];
    let args = [&args[..], &[file.to_str().unwrap()]].concat();
    let run = program.run(&args, &server.address).succeeded();
    assert!(run.stderr.contains("100 % of frames named"), "{run:#?}");
    let collapsed = Collapsed::parse(&fs::read_to_string(file).unwrap());
    let at = |frames: &[String]| {
        let is = |frame: &str, function: &str| {
            let line = frame.strip_prefix(function)?.strip_prefix(" (spin.c:")?;
            line.strip_suffix(')')?
                .parse()
                .ok()
                .filter(|line: &u32| *line > 0)
        };
        let pair = |pair: &[String]| is(&pair[0], "work").and(is(&pair[1], "deepest"));
        frames.windows(2).any(|frames| pair(frames).is_some())
    };
    assert!(collapsed.count(at) > 0, "{run:#?} {collapsed:#?}");
}

/// The live view fetches when it has ended, and its last table has the names.
#[test]
fn top_fetches_when_it_has_ended() {
    let program = Stripped::start();
    let server = Server::start(Answer::File(program.debug.clone()));
    for (args, is_named) in [(&["top"][..], false), (&["top", "--debuginfod"], true)] {
        let running = Running::start(&mut program.command(args, &server.address));
        running.sampled();
        running.signal(nix::sys::signal::Signal::SIGINT);
        let run = running.end().succeeded();
        let last = run.stdout.rsplit("%Own").next().unwrap();
        assert_eq!(last.contains(" work (program)"), is_named, "{run:#?}");
        assert_eq!(last.contains("program+0x"), !is_named, "{run:#?}");
    }
}

/// What is not what was asked for, or is not there, is said and not kept, and
/// the result is there all the same.
#[test]
fn wrong_and_missing_files() {
    let program = Stripped::start();
    let wrong = program.kept.path().join("wrong");
    fs::write(&wrong, b"no object file").unwrap();
    for (answer, words) in [
        (Answer::File(wrong), "not what was asked for"),
        (Answer::NotFound, "404"),
    ] {
        let server = Server::start(answer.clone());
        let run = program.run(&["dump", "--debuginfod"], &server.address);
        let run = run.succeeded();
        assert!(run.stderr.contains(words), "{answer:?} {run:#?}");
        assert!(run.stdout.contains("program+0x"), "{run:#?}");
        program.assert_nothing_cached();
    }
    // Where nobody listens.
    let run = program.run(&["dump", "--debuginfod"], "http://127.0.0.1:1");
    assert!(run.succeeded().stdout.contains("program+0x"));
    let run = program.run(&["dump", "--debuginfod"], "");
    run.failed_with(2);
}

/// Ctrl-C while a server is silent ends the wait and not the recording's result.
#[test]
fn an_interrupt_keeps_the_recording() {
    let program = Stripped::start();
    let server = Server::start(Answer::Stops(1 << 20));
    let file = program.kept.path().join("out.txt");
    let args = ["record", "--debuginfod", "-i", "-d", "0.5", "-o"];
    let args = [&args[..], &[file.to_str().unwrap()]].concat();
    let running = Running::start(&mut program.command(&args, &server.address));
    eventually("the server is asked", || {
        (!server.asked().is_empty()).then_some(())
    });
    running.signal(nix::sys::signal::Signal::SIGINT);
    let run = running.end().succeeded();
    let collapsed = Collapsed::parse(&fs::read_to_string(file).unwrap());
    assert!(collapsed.total() > 0, "{run:#?}");
    program.assert_nothing_cached();
}
