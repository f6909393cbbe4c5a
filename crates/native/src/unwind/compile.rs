use gimli::{
    CfaRule, CommonInformationEntry, EndianSlice, LittleEndian, RegisterRule, UnwindContextStorage,
    UnwindExpression, UnwindSection, UnwindTableRow,
};

use super::Via;
use super::expression::MAX_LEN;
use super::rule::{Cfa, Recovery, Rule};
use crate::arch::Architecture;
use crate::registers::{COUNT, Register};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// The row says something that no compiler says.
#[derive(Debug)]
pub(super) struct BadRow;

/// Takes from a row of the unwind table what this unwinder needs.
pub(super) fn compile<'a, S, T>(
    row: &UnwindTableRow<usize, T>,
    cie: &CommonInformationEntry<Reader<'a>>,
    section: &S,
    arch: &Architecture,
) -> Result<Rule, BadRow>
where
    S: UnwindSection<Reader<'a>>,
    T: UnwindContextStorage<usize>,
{
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            Cfa::Offset(kept(*register).ok_or(BadRow)?, small(*offset)?)
        }
        CfaRule::Expression(code) => Cfa::Expression(bytes(code, section)?),
    };
    let column = cie.return_address_register();
    let pc = match row.register(column) {
        Some(rule) => recovery(&rule, section)?,
        // Still in the link register; on an architecture without one there is
        // no saying where it is.
        None if kept(column) == arch.link_register && arch.link_register.is_some() => {
            Recovery::Same
        }
        None => return Err(BadRow),
    };
    let mut registers = Vec::new();
    for (register, rule) in row.registers() {
        // Vector registers are not kept, and the unwinder knows the
        // instruction pointer itself.
        if let Some(register) = kept(*register)
            && Some(register) != arch.pc
        {
            registers.push((register, recovery(rule, section)?));
        }
    }
    let signal_frame = cie.is_signal_trampoline();
    let is_told = |(register, recovery): &&(Register, Recovery)| {
        let is_saved = matches!(recovery, Recovery::AtCfa(_));
        is_saved && !arch.preserved.contains(*register)
    };
    let may_land = !signal_frame && registers.iter().filter(is_told).count() >= 2;
    Ok(Rule {
        cfa,
        pc,
        registers: registers.into(),
        signal_frame,
        may_land,
        via: Via::UnwindInfo,
    })
}

fn recovery<'a, S>(rule: &RegisterRule<usize>, section: &S) -> Result<Recovery, BadRow>
where
    S: UnwindSection<Reader<'a>>,
{
    Ok(match rule {
        RegisterRule::Undefined => Recovery::Undefined,
        RegisterRule::SameValue => Recovery::Same,
        RegisterRule::Offset(offset) => Recovery::AtCfa(small(*offset)?),
        RegisterRule::ValOffset(offset) => Recovery::CfaPlus(small(*offset)?),
        RegisterRule::Register(register) => Recovery::Register(kept(*register).ok_or(BadRow)?),
        RegisterRule::Expression(code) => Recovery::At(bytes(code, section)?),
        RegisterRule::ValExpression(code) => Recovery::Expression(bytes(code, section)?),
        _ => return Err(BadRow),
    })
}

fn kept(register: gimli::Register) -> Option<Register> {
    let number = u8::try_from(register.0).ok()?;
    (number < COUNT).then_some(Register(number))
}

fn small(offset: i64) -> Result<i32, BadRow> {
    i32::try_from(offset).map_err(|_| BadRow)
}

fn bytes<'a, S>(code: &UnwindExpression<usize>, section: &S) -> Result<Box<[u8]>, BadRow>
where
    S: UnwindSection<Reader<'a>>,
{
    let code = code.get(section).map_err(|_| BadRow)?;
    let code = code.0.slice();
    if code.len() > MAX_LEN {
        return Err(BadRow);
    }
    Ok(code.into())
}
