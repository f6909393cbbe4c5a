//! How a function returns, by its code: for functions that describe themselves
//! nowhere, as all of musl and much that is written by hand.

use std::collections::{HashSet, VecDeque};

use iced_x86::{FlowControl, Instruction, Mnemonic};

use super::decode::{decode, immediate, number};
use super::values::{Place, Values};
use super::{RAX, RBP, RSP};
use crate::ImageAddress;
use crate::image::Code;
use crate::unwind::Rule;

/// What a function has done so far on one way through it.
#[derive(Clone, Copy, Debug)]
struct State {
    values: Values,
    /// What RAX was last set to: the number of a system call, if it is one.
    rax: Option<i32>,
}

/// Instructions followed. The way out of a function is seldom longer than some
/// dozens, as calls are passed over; but kernels of linear algebra are written
/// without a branch: OpenBLAS 0.3's for products of matrices
/// (`dgemm_kernel_HASWELL`) has 4,700 instructions.
const MAX_STEPS: usize = 8192;

/// The rule at an instruction, from the shortest way from there to a return.
///
/// All ways to a return undo what the function has done to its stack, so one
/// is enough. A way may lead astray behind a call that never returns, which
/// cannot be told from others: what is found has to be checked. Where no way
/// leads to a return and one to the thread's end, that is the root.
pub(super) fn rule(code: &mut Code<'_>, at: ImageAddress) -> Option<Rule> {
    let start = State {
        values: Values::at_start(),
        rax: None,
    };
    let mut ways = VecDeque::from([(at.get(), start)]);
    let mut seen = HashSet::from([at.get()]);
    let (mut perhaps, mut ends) = (None, false);
    for _ in 0..MAX_STEPS {
        let Some((address, mut state)) = ways.pop_front() else {
            return perhaps.or_else(|| ends.then(|| Rule::root(RSP)));
        };
        let instruction = decode(code, address);
        if instruction.is_invalid() {
            continue;
        }
        if state.ends(&instruction) {
            ends = true;
            continue;
        }
        let mut follow = |address: u64| {
            if seen.insert(address) {
                ways.push_back((address, state));
            }
        };
        match instruction.flow_control() {
            FlowControl::Return => {
                if let Some(rule) = state.values.rule() {
                    return Some(rule);
                }
            }
            FlowControl::UnconditionalBranch => {
                let target = instruction.near_branch_target();
                // Another function does the rest, and returns for this one.
                match code.is_stub(target) {
                    true => perhaps = perhaps.or_else(|| state.values.rule()),
                    false => follow(target),
                }
            }
            FlowControl::IndirectBranch if state.has_left() => {
                perhaps = perhaps.or_else(|| state.values.rule());
            }
            FlowControl::ConditionalBranch => {
                follow(instruction.next_ip());
                follow(instruction.near_branch_target());
            }
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall
                if !is_start(&instruction) || address == at.get() =>
            {
                state.step(&instruction);
                if seen.insert(instruction.next_ip()) {
                    ways.push_back((instruction.next_ip(), state));
                }
            }
            // Traps, and jumps by a table.
            _ => {}
        }
    }
    perhaps
}

/// A function begins where the one before it has ended in a call that never
/// returns.
fn is_start(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Endbr64
}

impl State {
    fn step(&mut self, instruction: &Instruction) {
        self.values.step(instruction);
        if number(instruction.op0_register()) == Some(RAX) {
            let is_set = instruction.mnemonic() == Mnemonic::Mov;
            self.rax = is_set.then(|| immediate(instruction)).flatten();
        }
    }

    /// Whether the thread does not get any further: C libraries start a program
    /// and threads by code that ends so.
    fn ends(&self, instruction: &Instruction) -> bool {
        // exit and exit_group.
        let exits = matches!(self.rax, Some(60 | 231));
        match instruction.mnemonic() {
            Mnemonic::Hlt => true,
            Mnemonic::Syscall => exits,
            _ => false,
        }
    }

    /// Whether it has given back some of its stack.
    fn has_left(&self) -> bool {
        let above = |register| self.values.get(register).is_some_and(Place::is_above);
        above(RSP) || self.values.get(RSP).is_some_and(|sp| sp.is_from(RBP))
    }
}
