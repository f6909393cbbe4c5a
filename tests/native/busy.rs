//! A thread that computes in `busy::Shop::<u64>::work`, called from a closure that sorts.

use std::hint::black_box;
use std::io::Read;

struct Shop<T>(Vec<T>);

trait Worker {
    fn work(&self, n: u64) -> u64;
}

impl Worker for Shop<u64> {
    #[inline(never)]
    fn work(&self, n: u64) -> u64 {
        (0..n % 64).fold(n, |all, i| black_box(all * 31 + i + self.0[0]))
    }
}

#[inline(never)]
fn sort_all(worker: &dyn Worker) -> Vec<u64> {
    let mut all: Vec<u64> = (0..100).map(|n| n * 7 % 100).collect();
    all.sort_by_key(|n| worker.work(*n));
    all
}

fn main() {
    std::thread::Builder::new()
        .name("sorter".to_owned())
        .spawn(|| {
            println!("ready");
            loop {
                black_box(sort_all(black_box(&Shop(vec![3]))));
            }
        })
        .expect("a thread");
    let _ = std::io::stdin().read(&mut [0]);
}
