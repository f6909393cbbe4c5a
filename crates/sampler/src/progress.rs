use firefinch_profile::Profile;

use crate::clock::Tick;
use crate::members::Members;
use crate::options::Whom;
use crate::target::Target;

/// Where a recording stands.
#[derive(Debug)]
pub struct Progress<'a> {
    /// The tick just done.
    pub tick: Tick,
    /// Which threads are sampled from now on.
    pub whom: &'a mut Whom,
    pub(crate) profile: &'a mut Profile,
    pub(crate) members: &'a mut Members,
}

impl Progress<'_> {
    /// All processes that are recorded now.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.members.present().map(|member| &member.target)
    }

    /// What has been recorded so far, since it was last [taken](Self::take).
    pub fn profile(&self) -> &Profile {
        self.profile
    }

    /// Takes what has been recorded; the recorder goes on with an empty profile.
    /// So one that never ends needs no more memory than what is recorded from one
    /// call to the next. Each call costs entering all stacks anew that are there
    /// then. In [`Mode::Cpu`](crate::Mode::Cpu) what a thread has used since its last
    /// sample goes to its next one alone.
    pub fn take(&mut self) -> Profile {
        for member in self.members.all_mut() {
            member.leave(self.profile);
        }
        self.profile.take()
    }
}
