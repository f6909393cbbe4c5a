//! Names of Rust: a trait's method, a generic function, a closure.
use std::hint::black_box;

unsafe extern "C" {
    fn raise(signal: i32) -> i32;
}

trait Stop {
    fn stop(&self) -> i32;
}

struct Here(i32);

impl Stop for Here {
    #[inline(never)]
    fn stop(&self) -> i32 {
        black_box(unsafe { raise(19) }) + black_box(self.0)
    }
}

#[inline(never)]
fn generic<T: Stop>(value: T) -> i32 {
    let closure = |n: i32| black_box(value.stop()) + n;
    black_box(closure(black_box(1))) + 1
}

fn main() {
    std::process::exit(black_box(generic(Here(2))) + 1);
}
