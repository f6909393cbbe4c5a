//! What native stacks of a process cost and how good they are:
//! `cargo bench -p firefinch-sampler --bench native -- PID [SECONDS [RATE]]`.
//!
//! Prints what the first stack took, step by step, and then what sampling all
//! threads at the rate gave: those that run by stopping them, those that wait
//! without.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_process::{Activity, Process, ProcessMemory, Stopper, Thread};
use firefinch_sampler::native::{Capture, Native, NativeStack};

fn main() {
    let words = std::env::args().skip(1);
    let mut words = words.filter(|word| !word.starts_with("--"));
    let Some(pid) = words.next().and_then(|pid| pid.parse().ok()) else {
        println!("nothing measured: say which process");
        return;
    };
    let mut number = |default: f64| words.next().and_then(|w| w.parse().ok()).unwrap_or(default);
    let (seconds, rate) = (number(0.0), number(1000.0));
    let begun = Instant::now();
    let process = Arc::new(Process::open(pid).expect("a process"));
    let memory = Arc::new(process.memory().expect("readable"));
    let mut stopper = Stopper::new(&process).expect("a thread");
    let mut native = Native::new(&process, &memory, &Arc::default()).expect("readable");
    println!("attached after {:?}", begun.elapsed());
    for tid in process.threads().expect("alive") {
        let thread = Thread::open(&process, tid).expect("alive");
        let Some(capture) = capture(&mut native, &thread, &memory, &mut stopper) else {
            println!("thread {tid}: not captured");
            continue;
        };
        let captured = begun.elapsed();
        if let Some(stack) = native.stack(capture) {
            println!(
                "thread {tid}: captured after {captured:?}, named after {:?}",
                begun.elapsed()
            );
            print(&stack);
        }
    }
    sample(&process, &memory, &mut native, &mut stopper, seconds, rate);
    println!("{:#?}", native.quality());
}

fn sample(
    process: &Process,
    memory: &Arc<ProcessMemory>,
    native: &mut Native,
    stopper: &mut Stopper,
    seconds: f64,
    rate: f64,
) {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let threads = process.threads().expect("alive");
    let open = |tid| Thread::open(process, tid).ok();
    let threads: Vec<Thread> = threads.into_iter().filter_map(open).collect();
    let mut took = BTreeMap::<&str, (u32, Duration)>::new();
    while Instant::now() < end {
        for thread in &threads {
            let begun = Instant::now();
            let captured = capture(native, thread, memory, stopper);
            add(&mut took, "capture", begun);
            let Some(capture) = captured else {
                add(&mut took, "not captured", begun);
                continue;
            };
            let begun = Instant::now();
            if let Some(stack) = native.stack(capture)
                && stack.outcome.status != firefinch_native::Status::Rooted
            {
                println!("{:?}", stack.outcome);
                print(&stack);
            }
            add(&mut took, "unwind and name", begun);
        }
        std::thread::sleep(Duration::from_secs_f64(1.0 / rate));
    }
    for (what, (count, time)) in took {
        println!("{what}: {count} times, {:?} each", time / count);
    }
}

fn add(took: &mut BTreeMap<&'static str, (u32, Duration)>, what: &'static str, begun: Instant) {
    let (count, time) = took.entry(what).or_default();
    *count += 1;
    *time += begun.elapsed();
}

fn capture(
    native: &mut Native,
    thread: &Thread,
    memory: &Arc<ProcessMemory>,
    stopper: &mut Stopper,
) -> Option<Capture> {
    if let Ok(Activity::Waiting(_)) = thread.activity() {
        return native
            .capture_blocked(thread, || ())
            .map(|(capture, ())| capture);
    }
    let mut capture = native.capture(thread.tid());
    let memory = Arc::clone(memory);
    let deadline = Instant::now() + Duration::from_millis(20);
    stopper.visit(thread.tid(), deadline, move |visit| {
        let registers = visit.ok()?.registers().ok()?;
        capture.fill_stopped(&registers, &*memory).ok()?;
        Some(capture)
    })?
}

fn print(stack: &NativeStack) {
    for frame in &stack.frames {
        for symbol in &*frame.place.symbols {
            let file = symbol.file.as_deref().unwrap_or_default();
            println!(
                "  {:#x} sp {:#x} {:?} {} {:?} {file}:{} [{}]",
                frame.address.addr().get(),
                frame.sp.get(),
                frame.via,
                symbol.name,
                symbol.source,
                symbol.line.unwrap_or_default(),
                frame.place.module,
            );
        }
    }
    println!("  {:?}", stack.outcome.status);
}
