use firefinch_memory::RemoteAddr;
use gimli::{
    Encoding, EndianSlice, Evaluation, EvaluationResult, EvaluationStorage, Format, LittleEndian,
    Location, Piece, Value,
};

use super::Truncation;
use super::stack_memory::StackMemory;
use crate::registers::{Register, Registers};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Operations performed at most. Compilers emit up to a dozen; jumps make
/// endless loops possible.
const MAX_OPERATIONS: u32 = 256;

/// The longest expression kept.
pub(super) const MAX_LEN: usize = 1024;

/// Unwind tables are for one address size here, and expressions in them cannot
/// refer to anything that depends on the rest.
const ENCODING: Encoding = Encoding {
    format: Format::Dwarf32,
    version: 4,
    address_size: 8,
};

/// Memory for an evaluation, inline: no expression of a compiler needs more,
/// and a hostile one gets no more.
struct Inline;

impl<'a> EvaluationStorage<Reader<'a>> for Inline {
    type Stack = [Value; 32];
    type ExpressionStack = [(Reader<'a>, Reader<'a>); 1];
    type Result = [Piece<Reader<'a>>; 1];
}

/// Evaluates a DWARF expression of unwind information, with the CFA on the
/// stack first if there is one yet.
pub(super) fn evaluate(
    code: &[u8],
    cfa: Option<u64>,
    registers: &Registers,
    memory: &mut StackMemory<'_>,
) -> Result<u64, Truncation> {
    let bad = |_: gimli::Error| Truncation::BadUnwindInfo(RemoteAddr::NULL);
    let code = EndianSlice::new(code, LittleEndian);
    let mut evaluation = Evaluation::<_, Inline>::new_in(code, ENCODING);
    evaluation.set_max_iterations(MAX_OPERATIONS);
    if let Some(cfa) = cfa {
        evaluation.set_initial_value(cfa);
    }
    let mut state = evaluation.evaluate().map_err(bad)?;
    loop {
        state = match state {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                let register = u8::try_from(register.0).map(Register);
                let register = register.map_err(|_| Truncation::BadUnwindInfo(RemoteAddr::NULL))?;
                let value = registers.get(register);
                let value = value.ok_or(Truncation::UnknownRegister(register))?;
                evaluation.resume_with_register(Value::Generic(value))
            }
            EvaluationResult::RequiresMemory { address, size, .. } => {
                let value = memory.uint(RemoteAddr::new(address), size)?;
                evaluation.resume_with_memory(Value::Generic(value))
            }
            EvaluationResult::RequiresCallFrameCfa => match cfa {
                Some(cfa) => evaluation.resume_with_call_frame_cfa(cfa),
                None => return Err(Truncation::BadUnwindInfo(RemoteAddr::NULL)),
            },
            // Nothing else means anything in unwind information.
            _ => return Err(Truncation::BadUnwindInfo(RemoteAddr::NULL)),
        }
        .map_err(bad)?;
    }
    match evaluation.as_result() {
        [
            Piece {
                location: Location::Address { address },
                ..
            },
        ] => Ok(*address),
        [
            Piece {
                location:
                    Location::Value {
                        value: Value::Generic(value),
                    },
                ..
            },
        ] => Ok(*value),
        [
            Piece {
                location: Location::Register { register },
                ..
            },
        ] => {
            let register = u8::try_from(register.0).map(Register);
            let register = register.map_err(|_| Truncation::BadUnwindInfo(RemoteAddr::NULL))?;
            let value = registers.get(register);
            value.ok_or(Truncation::UnknownRegister(register))
        }
        _ => Err(Truncation::BadUnwindInfo(RemoteAddr::NULL)),
    }
}
