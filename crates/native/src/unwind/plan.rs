use super::cache::Plan;
use super::cfi::{Context, NoRow};
use super::rule::Rule;
use crate::address::{CodeAddress, ImageAddress};
use crate::arch::Architecture;
use crate::image::{Code, Image};
use crate::modules::Modules;

/// Finds out what to do at an address.
pub(super) fn plan(modules: &Modules, at: CodeAddress, context: &mut Context) -> Plan {
    let Some(located) = modules.locate(at.lookup()) else {
        return Plan::NotCode;
    };
    let arch = modules.arch();
    let cfi = located.module.cfi(modules.objects(), arch);
    let (Some(address), Ok((image, cfi))) = (located.address, cfi) else {
        return Plan::Undescribed(Box::new([]));
    };
    if let Some(rule) = signal_return(arch, image, at, address) {
        return Plan::Rule(rule);
    }
    match cfi.rule(arch, address, context) {
        Ok(rule) => return Plan::Rule(rule),
        Err(NoRow::Bad) => return Plan::Bad,
        Err(NoRow::Absent) => {}
    }
    let mut code = Code::of(image);
    if let Some((stub, offset)) = image.stub_at(address) {
        return Plan::Rule((arch.stub)(&mut code, stub, address.get(), offset));
    }
    if let Some(apart) = located.module.cfi_apart(modules.objects(), arch)
        && let Ok(rule) = apart.rule_for_debuggers(arch, address, context)
    {
        return Plan::Rule(rule);
    }
    let goes_on_at = match at {
        CodeAddress::Instruction(_) => address,
        CodeAddress::Return(_) => ImageAddress::new(address.get().wrapping_add(1)),
    };
    if goes_on_at != address && (arch.starts_here)(code.at(address.get())) {
        return Plan::Rule(Rule::root(arch.stack_pointer));
    }
    let by_exit = (arch.by_exit)(&mut code, goes_on_at);
    let start = located
        .module
        .symbol_start(modules.objects(), arch, address);
    let start = start.or_else(|| image.entry_before(address));
    let by_entry = start.and_then(|start| (arch.by_entry)(&mut code, start, goes_on_at));
    Plan::Undescribed([by_exit, by_entry].into_iter().flatten().collect())
}

/// The rule in the code that a signal handler returns to. `address` is where
/// to look for what describes the frame `at`.
fn signal_return(
    arch: &Architecture,
    image: &Image,
    at: CodeAddress,
    address: ImageAddress,
) -> Option<Rule> {
    let mut code = Code::of(image);
    let mut known = |address: u64| (arch.signal_return)(code.at(address));
    match at {
        // What lies before it is another function.
        CodeAddress::Return(_) => known(address.get().wrapping_add(1)),
        CodeAddress::Instruction(_) => {
            let into = arch.signal_return_first.iter().chain(&[0]);
            into.filter_map(|n| known(address.get().wrapping_sub(*n)))
                .next()
        }
    }
}
